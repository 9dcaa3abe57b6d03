//! `genzoo explore`: a page on this machine on which one plays with a trained model.

mod api;

use crate::failure;
use crate::finished::Finished;
use crate::output::print;
use api::{Explorer, Refusal};
use std::io::Read;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use tiny_http::{Header, Method, Request, Response, Server};
use train::Pool;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory of a run.
    run: PathBuf,
    /// The port of the page on 127.0.0.1; 0 takes one that is free.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Other data than the run's own, of the same shape.
    #[arg(long, value_name = "NAME|DIR")]
    data: Option<String>,
    /// Threads; they do not change the images [default: all cores].
    #[arg(long, value_name = "N", value_parser = super::threads())]
    threads: Option<u64>,
}

/// The page; it asks nobody but this server for anything.
const PAGE: &str = include_str!("page.html");
/// The longest question: the pixels of a large picture, written as numbers.
const LONGEST: u64 = 16 << 20;

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let run = Finished::open(&args.run)?;
    let model = run.model();
    if model.sampler().is_none() && model.latent().is_none() && model.completer().is_none() {
        return Err(run.cannot("makes no images that could be explored"));
    }
    // Loopback alone: nobody else in the network reaches it.
    let server = Server::http((Ipv4Addr::LOCALHOST, args.port)).map_err(|error| {
        let message = format!("127.0.0.1:{}: cannot listen there: {error}", args.port);
        failure::failed(
            message,
            "--port names another, and 0 takes one that is free",
        )
    })?;
    let address = server.server_addr().to_ip();
    let port = address.map_or(args.port, |address| address.port());
    print(format!(
        "http://127.0.0.1:{port}/ shows {} to a browser on this machine; Ctrl-C ends it",
        run.entry.name
    ))?;
    let pool = Pool::new(args.threads.map(|n| n as usize))?;
    pool.run(|| {
        let explorer = Explorer::new(&run, args.data.as_ref())?;
        serve(&server, &explorer, port);
        anyhow::Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Answers one question after another, for ever.
fn serve(server: &Server, explorer: &Explorer, port: u16) {
    for mut request in server.incoming_requests() {
        let (code, kind, body) = match answer(&mut request, explorer, port) {
            Ok((kind, body)) => (200, kind, body),
            Err(Refusal { code, reason }) => {
                let body = serde_json::json!({ "error": reason }).to_string();
                (code, JSON, body)
            }
        };
        // Never in chunks: the length is known.
        let mut response = Response::from_string(body)
            .with_status_code(code)
            .with_chunked_threshold(usize::MAX);
        for (name, value) in [
            ("Content-Type", kind),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            // Nothing from elsewhere, and no other page may show this one within itself.
            (
                "Content-Security-Policy",
                "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                 connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
            ),
        ] {
            let header = Header::from_bytes(name, value).expect("these are headers");
            response.add_header(header);
        }
        // A browser that has gone needs no answer.
        let _ = request.respond(response);
    }
}

const JSON: &str = "application/json";

/// The kind of the answer, and the answer.
fn answer(
    request: &mut Request,
    explorer: &Explorer,
    port: u16,
) -> Result<(&'static str, String), Refusal> {
    let header = |name: &'static str| {
        let found = request.headers().iter().find(|it| it.field.equiv(name));
        found.map(|header| header.value.as_str().to_owned())
    };
    // Pages of other hosts must not reach this server through the user's browser, neither under
    // another name that leads to 127.0.0.1 nor by asking from elsewhere.
    let hosts = ["127.0.0.1", "localhost"].map(|name| format!("{name}:{port}"));
    let host = header("Host").unwrap_or_default();
    let origin = header("Origin");
    let is_ours = |origin: String| hosts.iter().any(|host| origin == format!("http://{host}"));
    if !hosts.contains(&host) || !origin.is_none_or(is_ours) {
        return Err(Refusal {
            code: 403,
            reason: format!("only pages of http://{} may ask", hosts[0]),
        });
    }
    let path = request
        .url()
        .split('?')
        .next()
        .unwrap_or_default()
        .to_owned();
    match (request.method(), &path[..]) {
        (Method::Get, "/") => return Ok(("text/html; charset=utf-8", PAGE.into())),
        (Method::Get, "/api/run") => return Ok((JSON, explorer.about()?)),
        (Method::Post, _) => {}
        (Method::Get, _) => return Err(Refusal::unknown(&path)),
        (method, _) => {
            return Err(Refusal {
                code: 405,
                reason: format!("expected GET or POST, found {method}"),
            });
        }
    }
    let mut body = String::new();
    let read = request
        .as_reader()
        .take(LONGEST + 1)
        .read_to_string(&mut body);
    if read.map_err(Refusal::wrong)? as u64 > LONGEST {
        return Err(Refusal {
            code: 413,
            reason: format!("expected at most {LONGEST} bytes, found more"),
        });
    }
    Ok((JSON, explorer.ask(&path, &body)?))
}
