//! `daxmap._core._Device`, for the command `daxmap serve`.

use crate::docs::docstring;
use crate::error::open_error;
use crate::file_server::share_options;
use crate::session::{SetupCounts, offer_of, setup_counts};
use crate::values::DaxStats;
use daxmap_vhost_user::{
    Confinement, Device, Notices, Service, Settings, Socket, SocketError, confine, raise_descriptor_limit,
};
use daxmap_virtiofs::Options;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

#[doc = docstring!(_Device)]
#[pyclass(frozen, name = "_Device", module = "daxmap._core")]
pub(crate) struct PyDevice {
    device: Arc<Device>,
    notices: Notices,
    /// Both go when it is closed.
    serving: Mutex<(Option<Socket>, Option<Service>)>,
    confinement: Confinement,
}

#[pymethods]
impl PyDevice {
    #[new]
    #[pyo3(signature = (directory, socket, tag, window, threads, readonly, dax, min_size, owner, cache, confined))]
    #[allow(clippy::too_many_arguments)] // one for each of the command's
    fn new(
        py: Python<'_>,
        directory: PathBuf,
        socket: PathBuf,
        tag: String,
        window: Option<u64>,
        threads: u32,
        readonly: bool,
        dax: &str,
        min_size: u64,
        owner: &str,
        cache: &str,
        confined: bool,
    ) -> PyResult<Self> {
        let options = share_options(readonly, dax, min_size, owner, cache, None)?;
        let settings = Settings { tag, window, threads, readonly };
        settings.check().map_err(|bad| PyValueError::new_err(bad.to_string()))?;
        py.detach(|| open(&directory, &socket, settings, &options, confined))
    }

    #[doc = docstring!(_Device.start)]
    fn start(&self, once: bool) -> PyResult<()> {
        let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(socket), None) = (&serving.0, &serving.1) else {
            return Err(PyValueError::new_err("it was started, or closed, before"));
        };
        let service = Service::start(Arc::clone(&self.device), socket.listener(), once, self.notices.clone());
        serving.1 = Some(service.map_err(|error| host_error(&error, Path::new("a thread")))?);
        Ok(())
    }

    #[doc = docstring!(_Device.stop)]
    fn stop(&self) {
        if let Some(service) = &self.serving.lock().unwrap_or_else(PoisonError::into_inner).1 {
            service.stop();
        }
    }

    #[doc = docstring!(_Device.close)]
    fn close(&self) {
        self.stop();
        self.serving.lock().unwrap_or_else(PoisonError::into_inner).0 = None;
    }

    #[doc = docstring!(_Device.fileno)]
    fn fileno(&self) -> i32 {
        self.notices.as_fd().as_raw_fd()
    }

    #[doc = docstring!(_Device.notices)]
    fn notices(&self) -> Vec<String> {
        self.notices.take()
    }

    #[doc = docstring!(_Device.ended)]
    #[getter]
    fn ended(&self) -> bool {
        let serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        serving.1.as_ref().is_none_or(Service::has_ended)
    }

    #[doc = docstring!(_Device.front_end)]
    #[getter]
    fn front_end(&self) -> &'static str {
        let serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        serving.1.as_ref().map_or("none", Service::front_end)
    }

    #[doc = docstring!(_Device.confinement)]
    #[getter]
    fn confinement(&self) -> (Vec<String>, Vec<String>) {
        let Confinement { has, lacks } = self.confinement.clone();
        (has, lacks)
    }

    #[doc = docstring!(_Device.without_dax)]
    #[getter]
    fn without_dax(&self) -> Option<String> {
        self.device.without_dax()
    }

    #[doc = docstring!(_Device.stats)]
    fn stats(&self) -> DaxStats {
        self.device.stats().into()
    }

    #[doc = docstring!(_Device._offer)]
    fn _offer(&self) -> (&'static str, String) {
        offer_of(self.device.session())
    }

    #[doc = docstring!(_Device._setup_counts)]
    fn _setup_counts<'py>(&self, py: Python<'py>) -> PyResult<SetupCounts<'py>> {
        setup_counts(py, self.device.session(), None)
    }
}

/// All that can fail, in an order that leaves nothing behind.
fn open(directory: &Path, path: &Path, settings: Settings, options: &Options, confined: bool) -> PyResult<PyDevice> {
    raise_descriptor_limit();
    let opened = File::open(directory).and_then(|opened| {
        let is_directory = opened.metadata()?.is_dir();
        is_directory.then_some(opened).ok_or(io::Error::from_raw_os_error(libc::ENOTDIR))
    });
    let opened = opened.map_err(|error| host_error(&error, directory))?;
    let socket = Socket::bind(path).map_err(|error| socket_error(&error, path))?;
    let confinement = if confined {
        confine(opened.as_fd(), socket.directory(), settings.readonly)
    } else {
        Confinement { lacks: vec!["confinement: --no-confinement".to_owned()], ..Confinement::default() }
    };
    let notices = Notices::new().map_err(|error| host_error(&error, Path::new("eventfd")))?;
    let device = Device::new(directory, settings, options, notices.clone()).map_err(open_error)?;
    Ok(PyDevice { device: Arc::new(device), notices, serving: Mutex::new((Some(socket), None)), confinement })
}

fn host_error(error: &io::Error, path: &Path) -> PyErr {
    let Some(errno) = error.raw_os_error() else { return PyValueError::new_err(error.to_string()) };
    let text = io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default().to_owned();
    PyOSError::new_err((errno, text, path.to_owned()))
}

fn socket_error(error: &SocketError, path: &Path) -> PyErr {
    let errno = match error {
        SocketError::TooLong(_) => libc::ENAMETOOLONG,
        SocketError::InUse => libc::EADDRINUSE,
        SocketError::NotASocket => libc::ENOTSOCK,
        SocketError::Host(error) => return host_error(error, path),
    };
    PyOSError::new_err((errno, error.to_string(), path.to_owned()))
}
