//! `regions`: two regions on this machine with a page to look at them, and to wrong them.
//!
//! ```text
//! GET  /regions/state   {epoch, home, link, lag_ms, busy, failed, trust, regions: [{name, role, state, relays, replicator}]}
//! POST /regions/act     {action: cut-link | heal-link | kill | revive | switchover, region} -> 202, 409 while another is under way
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use selvedge_tests::fleet::{self, Fleet, FleetOptions, Stack};
use selvedge_tests::link::Way;
use serde::Deserialize;
use serde_json::{Value, json};

/// Names of the regions; the first is the home.
const REGIONS: [&str; 2] = ["a", "b"];
/// Relays of each region.
const RELAYS: u16 = 2;
/// How long a replicator may take to say how things stand: one that is halted or killed says nothing.
const ASK_WITHIN: Duration = Duration::from_millis(300);

/// Start relays and replicators of two regions on the local stack, and serve a page that shows them.
#[derive(Debug, Parser)]
#[command(name = "regions")]
struct Arguments {
    /// The port of the page.
    #[arg(long, default_value_t = 4400)]
    port: u16,
    /// The folder of the page.
    #[arg(long, value_name = "DIR")]
    web: PathBuf,
    /// One way between the regions, in milliseconds.
    #[arg(long, default_value_t = 40)]
    delay_ms: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let stack = Stack::from_environment()?;
    let logs = std::env::temp_dir().join(format!("selvedge-regions-{}", stack.base()?));
    std::fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
    let ports = stack.base()? + 30;
    let options = FleetOptions {
        regions: REGIONS.map(str::to_owned).into(),
        relays: RELAYS,
        replicators: true,
        prefix: "demo-".to_owned(),
        delay: Duration::from_millis(arguments.delay_ms),
        ports,
        relay_flags: relay_flags(&arguments, ports)?,
    };
    let fleet = Fleet::start(&options, Some(stack), &logs).await.context("the regions do not start")?;
    let demo = Arc::new(Demo::new(fleet));
    let router = Router::new()
        .route("/regions/state", get(state))
        .route("/regions/act", post(act))
        .fallback_service(tower_http::services::ServeDir::new(&arguments.web))
        .with_state(Arc::clone(&demo));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", arguments.port)).await;
    let listener = listener.with_context(|| format!("--port {}: choose another one", arguments.port))?;
    println!("http://127.0.0.1:{}/regions.html   (logs in {})", arguments.port, logs.display());
    axum::serve(listener, router).with_graceful_shutdown(ended()).await?;
    Ok(())
}

/// Every relay serves the page of one writer, and takes the pages of all: a writer whose region is lost goes on elsewhere.
fn relay_flags(arguments: &Arguments, ports: u16) -> anyhow::Result<Vec<String>> {
    let web = arguments.web.to_str().context("--web: the folder's name is no text")?.to_owned();
    let mut flags = vec!["--web".to_owned(), web];
    let relays = fleet::relay_ports(ports, REGIONS.len(), RELAYS);
    for port in relays.into_iter().chain([arguments.port]) {
        flags.extend(["--allow-origin".to_owned(), format!("http://127.0.0.1:{port}")]);
    }
    Ok(flags)
}

/// Until Ctrl-C. The regions' programs end with this one; the services stay.
async fn ended() {
    // Where signals cannot be had, Ctrl-C ends everything at once.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The fleet, and what is shown of it while it is being worked on.
struct Demo {
    fleet: tokio::sync::Mutex<Fleet>,
    shown: Mutex<Shown>,
    /// Of each region: its name, its relays, and where its replicator answers.
    regions: Vec<(String, Vec<String>, String)>,
    /// The public key of their list of endpoints.
    trust: Option<String>,
}

struct Shown {
    link: &'static str,
    busy: Option<String>,
    /// What the last thing done came to, if it did not succeed.
    failed: Option<String>,
    states: BTreeMap<String, &'static str>,
}

impl Demo {
    fn new(fleet: Fleet) -> Self {
        let region = |region: &fleet::RegionFleet| (region.name.clone(), region.urls.clone(), region.admin.clone());
        let regions: Vec<_> = fleet.regions.iter().map(region).collect();
        let states = regions.iter().map(|(name, ..)| (name.clone(), "up")).collect();
        let shown = Mutex::new(Shown { link: "up", busy: None, failed: None, states });
        let trust = fleet.trust.clone();
        Self { fleet: tokio::sync::Mutex::new(fleet), shown, regions, trust }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, region: &str, state: &'static str) {
        self.shown().states.insert(region.to_owned(), state);
    }
}

/// What a replicator says of the control plane.
#[derive(Debug, Clone, Deserialize)]
struct Standing {
    epoch: u64,
    holder: Option<String>,
    #[serde(default)]
    lag_ms: Option<u64>,
}

async fn standing(admin: &str) -> Option<Standing> {
    let answer = tokio::time::timeout(ASK_WITHIN, fleet::get(admin, "/v1/control")).await.ok()?.ok()?;
    serde_json::from_str(&answer).ok()
}

async fn state(State(demo): State<Arc<Demo>>) -> Json<Value> {
    let asked = demo.regions.iter().map(|(_, _, admin)| standing(admin));
    let standings = futures_util::future::join_all(asked).await;
    let newest = standings.iter().flatten().max_by_key(|standing| standing.epoch).cloned();
    let home = newest.as_ref().and_then(|standing| standing.holder.clone());
    let shown = demo.shown();
    let regions: Vec<Value> = demo
        .regions
        .iter()
        .map(|(name, relays, replicator)| {
            let role = if home.as_ref() == Some(name) { "home" } else { "standby" };
            let state = shown.states.get(name);
            json!({"name": name, "role": role, "state": state, "relays": relays, "replicator": replicator})
        })
        .collect();
    let lags = demo.regions.iter().zip(&standings);
    let lags: BTreeMap<&str, Option<u64>> = lags
        .map(|((name, ..), standing)| (name.as_str(), standing.as_ref().and_then(|standing| standing.lag_ms)))
        .collect();
    Json(json!({
        "epoch": newest.map(|standing| standing.epoch),
        "home": home,
        "link": shown.link,
        "lag_ms": lags,
        "busy": shown.busy,
        "failed": shown.failed,
        "trust": demo.trust,
        "regions": regions,
    }))
}

/// What the page asks for.
#[derive(Debug, Clone, Deserialize)]
struct Act {
    action: Action,
    region: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    CutLink,
    HealLink,
    Kill,
    Revive,
    Switchover,
}

async fn act(State(demo): State<Arc<Demo>>, Json(act): Json<Act>) -> Response {
    let needs_region = matches!(act.action, Action::Kill | Action::Revive | Action::Switchover);
    let region = match act.region.as_deref().filter(|region| REGIONS.contains(region)) {
        Some(region) => region.to_owned(),
        None if !needs_region => String::new(),
        None => return refused(StatusCode::BAD_REQUEST, "Name the region: a or b."),
    };
    if let Some(busy) = claim(&demo, act.action, &region) {
        return refused(StatusCode::CONFLICT, &format!("Wait: {busy}"));
    }
    // Its end is seen in the state; the page asks for that anyway.
    tokio::spawn(async move {
        let done = carry_out(&demo, act.action, &region).await;
        let failed = done.err().map(|error| format!("{error:#}"));
        if let Some(error) = &failed {
            eprintln!("regions: {error}");
        }
        let mut shown = demo.shown();
        let attempt = shown.busy.take().unwrap_or_default();
        shown.failed = failed.map(|error| format!("Failed at {attempt}: {error}"));
    });
    (StatusCode::ACCEPTED, Json(json!({}))).into_response()
}

fn refused(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"error": {"message": message}}))).into_response()
}

/// Says what is being done, unless something is: then answers that.
fn claim(demo: &Demo, action: Action, region: &str) -> Option<String> {
    let mut shown = demo.shown();
    if shown.busy.is_some() {
        return shown.busy.clone();
    }
    let region = region.to_uppercase();
    shown.failed = None;
    shown.busy = Some(match action {
        Action::CutLink => "cutting the link".to_owned(),
        Action::HealLink => "joining the link".to_owned(),
        Action::Kill => format!("killing region {region}"),
        Action::Revive => format!("bringing region {region} back"),
        Action::Switchover => format!("making region {region} the home"),
    });
    None
}

async fn carry_out(demo: &Demo, action: Action, region: &str) -> anyhow::Result<()> {
    let mut fleet = demo.fleet.lock().await;
    match action {
        Action::CutLink => {
            fleet.link.set(Way::Silent);
            demo.shown().link = "cut";
            Ok(())
        }
        Action::HealLink => {
            fleet.link.set(Way::Open);
            demo.shown().link = "up";
            Ok(())
        }
        Action::Kill => {
            demo.show(region, "down");
            fleet.kill_region(region).await
        }
        Action::Revive => {
            demo.show(region, "starting");
            let back = fleet.bring_back(region).await;
            demo.show(region, if back.is_ok() { "up" } else { "down" });
            back
        }
        Action::Switchover => fleet.switch_over(region).await,
    }
}
