//! `millrace demo`.

use std::path::PathBuf;

use clap::Args;

use super::{CliError, Serve};
use crate::config::Config;

/// Port of the demo when none is named: Loki's, where Grafana looks.
const PORT_DEFAULT: u16 = 3100;

#[derive(Debug, Args)]
pub struct Demo {
    /// Where the demo keeps everything; a new directory below the temporary ones unless named.
    #[arg(long = "data", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// 0: any free port.
    #[arg(long = "http-port", default_value_t = PORT_DEFAULT, value_name = "PORT")]
    pub http_port: u16,
    /// trace, debug, info, warn or error.
    #[arg(long = "log-level", default_value = "warn", value_name = "LEVEL")]
    pub log_level: String,
}

impl Demo {
    /// The settings of the demo's server, and where it keeps everything.
    pub fn settings(&self) -> Result<(Config, PathBuf), CliError> {
        let data = self
            .data
            .clone()
            .unwrap_or_else(|| std::env::temp_dir().join(format!("millrace-demo-{}", uuid::Uuid::new_v4().simple())));
        let serve = Serve {
            data: Some(data.clone()),
            http_port: Some(self.port()?),
            log_level: Some(self.log_level.clone()),
            ..Serve::default()
        };
        Ok((serve.settings()?.config, data))
    }

    /// The demo talks to its own server, so any free port is chosen here already.
    fn port(&self) -> Result<u16, CliError> {
        if self.http_port > 0 {
            return Ok(self.http_port);
        }
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        free.map(|address| address.port()).map_err(CliError::Port)
    }
}
