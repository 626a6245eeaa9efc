//! The relay as a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A relay's process; killed when dropped.
pub struct Process {
    pub child: Child,
    pub url: String,
}

/// The relay's binary with `arguments`, nothing inherited from the environment's settings.
pub fn relay(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge-relay"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SELVEDGE_")) {
        command.env_remove(name);
    }
    command.args(arguments).kill_on_drop(true).stdin(Stdio::null());
    command
}

impl Process {
    /// Starts a relay on this port and waits for its one line.
    pub async fn start(data: &Path, listen: SocketAddr, more: &[&str]) -> Self {
        let listen = listen.to_string();
        let data = data.to_str().unwrap();
        let mut arguments = vec!["serve", "--data", data, "--listen", &listen, "--admin", "127.0.0.1:0"];
        arguments.extend(more);
        let mut child = relay(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let read = tokio::time::timeout(Duration::from_secs(60), out.read_line(&mut line)).await;
        read.expect("the relay did not become ready").unwrap();
        assert!(line.starts_with("http://"), "{line:?}");
        child.stdout = Some(out.into_inner());
        Process { child, url: line.trim().to_owned() }
    }

    pub fn address(&self) -> SocketAddr {
        self.url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap()
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        let status = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap();
        assert!(status.success());
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.start_kill().unwrap();
        self.child.wait().await.unwrap();
    }

    pub async fn exit(&mut self) -> i32 {
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        status.expect("it did not exit").unwrap().code().expect("it was killed")
    }
}

/// A port nobody listens on at the moment.
pub fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
