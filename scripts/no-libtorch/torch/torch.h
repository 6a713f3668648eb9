#error "there is no libtorch here: run scripts/libtorch (or point LIBTORCH at one), then build again"
