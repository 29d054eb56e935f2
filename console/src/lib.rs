//! The page for operators, `/console/`: a Spin component that answers with its own files.
//!
//! The files are in `web/`: plain modules and styles, with no build step. `web/common/` knows nothing of operators, so that
//! another page can share it; `web/app/` is the console. The page calls the API as every client does, and this component
//! has neither variables nor stores.

pub mod entry;
mod files;
mod service;
