/* The command line as a shell would take it again. */
#ifndef CLI_COMMAND_LINE_H
#define CLI_COMMAND_LINE_H

/* "weft train --data-path 'my data'", owned by the caller (free); NULL when memory is out. */
char *command_line(int argc, char *const *argv);

#endif
