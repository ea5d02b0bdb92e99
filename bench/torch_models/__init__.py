"""The PyTorch twins of Weft's models, for side-by-side timing and parity tests.

Written from torch.nn alone, because torchvision need not be installed, with torchvision's attribute
names, structure and initialisation: a state_dict of these loads into torchvision's models, and into
Weft's, and back. To add a family, write its file, with a table MODELS, and name it in FAMILIES.
"""

from importlib import import_module

FAMILIES = (
    "alexnet",
    "densenet",
    "efficientnet",
    "googlenet",
    "inception",
    "mobilenet",
    "resnet",
    "shufflenet",
    "small",
    "squeezenet",
    "vgg",
)

# name: model.Model
MODELS = {name: model for family in FAMILIES
          for name, model in import_module(f".{family}", __name__).MODELS.items()}
