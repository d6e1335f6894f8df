//! map_file
