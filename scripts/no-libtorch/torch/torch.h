#error "there is no libtorch here: run scripts/libtorch (or let LIBTORCH name one), then build again"
#include "libtorch" // not there either, which ends the compilation before thousands of errors that follow from the first
