//! The local stack's services, as `cargo xtask stack` started them: where they are, and what is done to them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};

/// A service of one region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The log.
    Kafka,
    /// The op store.
    DynamoDb,
    /// Snapshots and the control plane's index.
    Postgres,
    /// The bus.
    Redis,
}

impl Service {
    /// Every service of a region.
    pub const ALL: [Service; 4] = [Service::Kafka, Service::DynamoDb, Service::Postgres, Service::Redis];

    /// Its name in the stack.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Service::Kafka => "kafka",
            Service::DynamoDb => "dynamodb",
            Service::Postgres => "postgres",
            Service::Redis => "redis",
        }
    }
}

/// The stack.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Its data, logs and process ids.
    folder: PathBuf,
    /// `xtask`, which starts services again.
    xtask: PathBuf,
    /// The first of its ports.
    base: String,
}

impl Stack {
    /// The stack that the environment names: `SELVEDGE_STACK_FOLDER`, `SELVEDGE_STACK_PORTS` and `SELVEDGE_XTASK` beside the
    /// addresses. `cargo xtask drill` sets them.
    ///
    /// # Errors
    /// When one of them is not set.
    pub fn from_environment() -> anyhow::Result<Self> {
        let variable = |name: &str| {
            std::env::var(name)
                .with_context(|| format!("{name} is not set: run this by `cargo xtask`, which starts the stack"))
        };
        Ok(Self {
            folder: variable("SELVEDGE_STACK_FOLDER")?.into(),
            xtask: variable("SELVEDGE_XTASK")?.into(),
            base: variable("SELVEDGE_STACK_PORTS")?,
        })
    }

    /// The first of its ports.
    ///
    /// # Errors
    /// When the environment says something else than a number.
    pub fn base(&self) -> anyhow::Result<u16> {
        self.base.parse().with_context(|| format!("SELVEDGE_STACK_PORTS={}", self.base))
    }

    /// An address by its name behind `SELVEDGE_STACK_`, such as `A_KAFKA`.
    ///
    /// # Errors
    /// When the stack has none.
    pub fn address(&self, name: &str) -> anyhow::Result<String> {
        let variable = format!("SELVEDGE_STACK_{name}");
        std::env::var(&variable)
            .with_context(|| format!("{variable} is not set: `cargo xtask stack up` starts the services"))
    }

    /// Starts what does not run of the services so chosen, and waits until they answer.
    ///
    /// # Errors
    /// What `xtask` says.
    pub async fn up(&self, selection: &[&str]) -> anyhow::Result<()> {
        self.xtask("up", selection).await
    }

    /// Ends the services so chosen and removes what they kept.
    ///
    /// # Errors
    /// What `xtask` says.
    pub async fn wipe(&self, selection: &[&str]) -> anyhow::Result<()> {
        let arguments: Vec<&str> = selection.iter().copied().chain(["--wipe"]).collect();
        self.xtask("down", &arguments).await
    }

    async fn xtask(&self, verb: &str, selection: &[&str]) -> anyhow::Result<()> {
        let mut command = tokio::process::Command::new(&self.xtask);
        command.args(["stack", verb]).args(selection).args(["--ports", &self.base, "--data"]).arg(&self.folder);
        // Addresses in the environment would be taken for somebody else's services.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SELVEDGE_STACK_") {
                command.env_remove(name);
            }
        }
        let output = command.output().await.with_context(|| format!("{} does not start", self.xtask.display()))?;
        ensure!(output.status.success(), "stack {verb}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// Sends a signal to a service with all it started.
    ///
    /// # Errors
    /// When its process is not known, or the system refuses.
    pub fn signal(&self, region: &str, service: Service, signal: &str) -> anyhow::Result<()> {
        // It leads a group of its own.
        self::signal(signal, &format!("-{}", self.process(region, service)?))
    }

    /// The processes of a region's services, by their names.
    ///
    /// # Errors
    /// When one is not known.
    pub fn processes(&self, region: &str) -> anyhow::Result<Vec<(String, u32)>> {
        let process = |service: Service| Ok((format!("{region}-{}", service.name()), self.process(region, service)?));
        Service::ALL.into_iter().map(process).collect()
    }

    fn process(&self, region: &str, service: Service) -> anyhow::Result<u32> {
        let name = format!("{region}-{}", service.name());
        let file = self.folder.join(&name).join("pid");
        let text = std::fs::read_to_string(&file).with_context(|| format!("{name} was not started by the stack"))?;
        let process = text.split(' ').next().and_then(|process| process.parse().ok());
        process.with_context(|| format!("{} is damaged", file.display()))
    }

    /// Sends a signal to every service of a region.
    ///
    /// # Errors
    /// As [`Stack::signal`].
    pub fn signal_region(&self, region: &str, signal: &str) -> anyhow::Result<()> {
        Service::ALL.into_iter().try_for_each(|service| self.signal(region, service, signal))
    }
}

/// Sends a signal to a process, or with a minus sign in front to a process group.
pub(super) fn signal(signal: &str, process: &str) -> anyhow::Result<()> {
    // The shell's own `kill`: there on every machine, and no unsafe call here.
    let status = Command::new("sh").args(["-c", &format!("kill -{signal} {process}")]).status()?;
    ensure!(status.success(), "kill -{signal} {process}: {status}");
    Ok(())
}
