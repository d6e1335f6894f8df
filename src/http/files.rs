//! Static files and directory listings.
