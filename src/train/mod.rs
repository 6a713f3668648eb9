//! (laid in the next commits)
pub mod loss;
pub mod model;
pub mod optim;
pub mod weights;
