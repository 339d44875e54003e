//! `ConnectService.IssueCredential`: what lets kubectl in without a running process.

use std::time::Duration;

use prost_types::Timestamp;
use secrecy::ExposeSecret;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};
use vcluster_chassis::grpc::caller;
use vcluster_proto::ERROR_DOMAIN;
use vcluster_proto::connect::v1::connect_service_server::ConnectService;
use vcluster_proto::connect::v1::{IssueCredentialRequest, IssueCredentialResponse};
use vcluster_resources::{ClusterName, HostNamespace};

use crate::authorize::Access;
use crate::credential::{Credentials, IssueError};
use crate::route::ClusterKey;

/// Bounds of a lifetime, and what it is if nothing is asked for.
const SHORTEST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_hours(1);
const DEFAULT: Duration = Duration::from_mins(10);

/// The gateway's own gRPC service.
#[derive(Debug, Clone)]
pub struct Issuer {
    access: Access,
    credentials: Credentials,
}

/// A request that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    cluster: ClusterKey,
    lifetime: Duration,
}

impl Issuer {
    /// Makes the service.
    pub fn new(access: Access, credentials: Credentials) -> Self {
        Self {
            access,
            credentials,
        }
    }
}

#[tonic::async_trait]
impl ConnectService for Issuer {
    async fn issue_credential(
        &self,
        request: Request<IssueCredentialRequest>,
    ) -> Result<Response<IssueCredentialResponse>, Status> {
        let identity = caller::of(&request)?.clone();
        let wanted = Wanted::try_from(request.into_inner())?;
        self.access.may_connect(&identity, &wanted.cluster).await?;
        let issued = self
            .credentials
            .issue(&identity, &wanted.cluster, wanted.lifetime)
            .map_err(refuse)?;
        tracing::info!(
            target: "audit",
            event = "issue",
            user = identity.user,
            cluster = %wanted.cluster,
            credential = issued.id,
            expires_at = %issued.expires_at,
            "credential issued"
        );
        Ok(Response::new(IssueCredentialResponse {
            token: issued.token.expose_secret().to_owned(),
            expire_time: Some(Timestamp {
                seconds: issued.expires_at.as_second(),
                nanos: 0,
            }),
            path: wanted.cluster.path(),
        }))
    }
}

impl TryFrom<IssueCredentialRequest> for Wanted {
    type Error = Status;

    fn try_from(request: IssueCredentialRequest) -> Result<Self, Status> {
        let mut details = ErrorDetails::new();
        let namespace: Option<HostNamespace> = request
            .host_namespace
            .parse()
            .map_err(|error: vcluster_resources::name::Error| {
                details.add_bad_request_violation("host_namespace", error.to_string());
            })
            .ok();
        let name: Option<ClusterName> = request
            .name
            .parse()
            .map_err(|error: vcluster_resources::name::Error| {
                details.add_bad_request_violation("name", error.to_string());
            })
            .ok();
        let lifetime = lifetime(request.lifetime);
        if lifetime.is_none() {
            let description = "must be between 60s and 3600s; unset means 600s";
            details.add_bad_request_violation("lifetime", description);
        }
        if let (Some(namespace), Some(name), Some(lifetime)) = (namespace, name, lifetime) {
            return Ok(Self {
                cluster: ClusterKey { namespace, name },
                lifetime,
            });
        }
        Err(invalid(details))
    }
}

/// Tells every violation, by field and in one sentence.
fn invalid(mut details: ErrorDetails) -> Status {
    let reason = std::collections::HashMap::<String, String>::new();
    details.set_error_info("INVALID_REQUEST", ERROR_DOMAIN, reason);
    let violations = details
        .bad_request()
        .map(|bad| bad.field_violations.clone());
    let violations: Vec<_> = violations
        .unwrap_or_default()
        .into_iter()
        .map(|violation| format!("{} {}", violation.field, violation.description))
        .collect();
    Status::with_error_details(Code::InvalidArgument, violations.join("; "), details)
}

fn lifetime(asked: Option<prost_types::Duration>) -> Option<Duration> {
    let Some(asked) = asked else {
        return Some(DEFAULT);
    };
    let asked = Duration::try_from(asked).ok()?;
    (SHORTEST..=LONGEST).contains(&asked).then_some(asked)
}

fn refuse(error: IssueError) -> Status {
    match error {
        IssueError::TooLarge => Status::failed_precondition(error.to_string()),
        IssueError::Signing(cause) => {
            tracing::error!(error = %cause, "a credential cannot be signed");
            Status::internal("the gateway cannot sign credentials now")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(namespace: &str, name: &str, seconds: Option<i64>) -> Result<Wanted, Status> {
        Wanted::try_from(IssueCredentialRequest {
            host_namespace: namespace.to_owned(),
            name: name.to_owned(),
            lifetime: seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
        })
    }

    #[test]
    fn a_lifetime_is_one_minute_to_one_hour_and_ten_minutes_if_unset() {
        assert_eq!(asked("a", "b", None).unwrap().lifetime, DEFAULT);
        for (seconds, good) in [
            (60, true),
            (3600, true),
            (59, false),
            (3601, false),
            (0, false),
            (-60, false),
        ] {
            assert_eq!(asked("a", "b", Some(seconds)).is_ok(), good, "{seconds}");
        }
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let status = asked("", "A", Some(1)).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_details_bad_request().unwrap();
        let fields: Vec<_> = details
            .field_violations
            .iter()
            .map(|v| v.field.as_str())
            .collect();
        assert_eq!(fields, ["host_namespace", "name", "lifetime"]);
        assert_eq!(
            status.get_details_error_info().unwrap().domain,
            ERROR_DOMAIN
        );
    }
}
