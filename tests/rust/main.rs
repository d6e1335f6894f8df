//! The async side on real sockets and real files, with a stub in place of the handlers; the layers; the fuzz seeds. No
//! Python.

mod cgi;
mod circles;
mod classes;
mod files;
mod forks;
mod fuzz_seeds;
mod handover;
mod heads;
mod layers;
mod lifecycle;
mod policy;
mod support;
mod tls;
