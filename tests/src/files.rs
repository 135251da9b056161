//! Files: taken in whole or not at all, and handed out byte for byte to those who may have them, and to nobody else.

mod access;
mod browsers;
mod downloads;
mod durability;
mod limits;
mod memory;
mod names;
mod s3;
mod scene;
mod sweep;
