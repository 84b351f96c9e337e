//! Servers under measurement: started as processes, loaded over HTTP, watched through the system.

pub mod load;
pub mod process;
pub mod summary;
