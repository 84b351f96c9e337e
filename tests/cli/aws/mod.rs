//! The command line against AWS on loopback: a table and a bucket in this process, the program in its own.

mod container;
mod failures;
mod looking;
mod seed;
mod stand;
