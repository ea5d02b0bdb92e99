/* Weft: training image CNNs on x86 CPUs. Includes every public header. */
#ifndef WEFT_WEFT_H
#define WEFT_WEFT_H

#include "weft/autograd.h"
#include "weft/checkpoint.h"
#include "weft/context.h"
#include "weft/custom_op.h"
#include "weft/data.h"
#include "weft/ema.h"
#include "weft/init.h"
#include "weft/inspect.h"
#include "weft/job.h"
#include "weft/layers.h"
#include "weft/models.h"
#include "weft/module.h"
#include "weft/ops.h"
#include "weft/optim.h"
#include "weft/report.h"
#include "weft/safetensors.h"
#include "weft/schedule.h"
#include "weft/status.h"
#include "weft/tensor.h"
#include "weft/train.h"
#include "weft/transform.h"
#include "weft/tune.h"
#include "weft/types.h"

#endif
