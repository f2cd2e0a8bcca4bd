//! `millrace ready`: for health checks where there is no other client.

use clap::Args;

use crate::http_client;

#[derive(Debug, Args)]
pub struct Ready {
    /// Where the server listens.
    #[arg(
        long = "address",
        default_value = "127.0.0.1:3100",
        env = "MILLRACE_READY_ADDRESS",
        value_name = "HOST:PORT"
    )]
    pub address: String,
}

impl Ready {
    /// # Errors
    /// What the server said, or why it could not be asked.
    pub async fn ask(&self) -> Result<(), String> {
        let answer = http_client::get(&self.address, "/ready").await;
        match answer {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(answer.body.trim().to_owned()),
            Err(error) => Err(format!("{}: {error}", self.address)),
        }
    }
}
