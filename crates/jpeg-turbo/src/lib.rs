//! libjpeg-turbo.
