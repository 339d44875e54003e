//! The kubelet API for virtual API servers.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::peer::{Caller, Handler};
use crate::reply::{self, Body, Kind, Refusal};

/// Answers as a kubelet of every node would.
#[derive(Debug)]
pub struct Kubelet;

impl Handler for Kubelet {
    fn handle(
        self: Arc<Self>,
        _caller: Arc<Caller>,
        request: Request<Incoming>,
    ) -> BoxFuture<'static, Response<Body>> {
        let answer = match request.uri().path() {
            "/healthz" => Response::new(reply::full("ok")),
            other => {
                Refusal::new(Kind::NotFound, format!("{other} is not served here")).into_response()
            }
        };
        Box::pin(async move { answer })
    }
}
