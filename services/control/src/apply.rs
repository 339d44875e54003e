//! Carries out the steps of a plan.
//!
//! Objects are written by server-side apply under one field manager. Where there should be none yet,
//! the write is not forced: somebody else's object that appeared since the look answers with a
//! conflict where fields differ. Where ours is repaired, the write is forced and bound to its UID. Deletes are bound to UIDs, always.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::api::{
    DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use vcluster_resources::ownership::{CONTROL, CONTROL_FINALIZER};
use vcluster_resources::{VirtualCluster, VirtualClusterStatus, label};

use crate::address::candidates;
use crate::manifest::Wish;
use crate::observe::Sight;
use crate::observed::{Contents, MadeFor};
use crate::pki::{Credential, Issuers, Roots};
use crate::plan::Step;
use crate::slot::Slot;
use crate::survey;

/// Addresses that are tried for one Service in one round.
const ADDRESSES: usize = 32;

/// What came of a step.
#[derive(Debug)]
pub enum Outcome {
    /// It is done, or was done before.
    Done,
    /// What was seen is not so any more: look again.
    Stale,
    /// The namespace was looked at.
    Surveyed(Contents),
}

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refuses, and would again: the text is for people.
    #[error("{0}")]
    Refused(String),
    /// The API server cannot be reached, or is too busy; the same may work later.
    #[error("the API server cannot be reached")]
    Unreachable(#[source] Box<kube::Error>),
    /// Keys could not be made.
    #[error("keys cannot be made")]
    Keys(#[from] crate::pki::Error),
}

/// What steps are carried out with.
#[derive(Clone, Copy)]
pub struct Executor<'a> {
    /// Client of the host cluster.
    pub client: &'a Client,
    /// The virtual cluster as it was read.
    pub cluster: &'a VirtualCluster,
    /// What follows from it.
    pub wish: Wish<'a>,
    /// What was seen when the plan was made.
    pub sight: &'a Sight,
    /// The present moment.
    pub now: Timestamp,
    /// How often this cluster failed in a row; other addresses are tried each time.
    pub attempt: u32,
}

impl fmt::Debug for Executor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").finish_non_exhaustive()
    }
}

impl Executor<'_> {
    /// Carries out one step.
    pub async fn carry_out(&self, step: &Step) -> Result<Outcome, Error> {
        match step {
            Step::AddFinalizer => self.finalizers(true).await,
            Step::RemoveFinalizer => self.finalizers(false).await,
            Step::ClaimNamespace { uid } => self.claim_namespace(uid).await,
            Step::MintRoots => self.mint_roots().await,
            Step::DeleteRoots { uid } => {
                let api: Api<Secret> = Api::namespaced(self.client.clone(), self.release());
                deleted(
                    api.delete(&self.wish.subject.roots_secret(), &bound(uid))
                        .await,
                )
            }
            Step::AllocateAddress => self.allocate().await,
            Step::Apply { slot, body, over } => self.apply(*slot, body, over.as_deref()).await,
            Step::Mint { credential, over } => self.mint(*credential, over.as_deref()).await,
            Step::Delete { slot, uid } => self.delete(*slot, uid).await,
            Step::DeletePod { name, uid } => {
                let api: Api<Pod> = Api::namespaced(self.client.clone(), self.host());
                deleted(api.delete(name, &bound(uid)).await)
            }
            Step::Survey => Ok(Outcome::Surveyed(
                survey::survey(self.client, self.wish.subject).await,
            )),
            Step::DeleteNamespace { uid } => self.delete_namespace(uid).await,
        }
    }

    /// Writes the part of the status that is control's.
    pub async fn write_status(&self, status: &VirtualClusterStatus) -> Result<Outcome, Error> {
        let api: Api<VirtualCluster> = Api::namespaced(self.client.clone(), self.host());
        let name = self.wish.subject.name().as_str();
        let patch = json!({
            "apiVersion": "vcluster.dev/v1alpha1",
            "kind": "VirtualCluster",
            "metadata": { "name": name, "uid": self.wish.subject.uid() },
            "status": status,
        });
        let params = PatchParams::apply(CONTROL).force();
        written(api.patch_status(name, &params, &Patch::Apply(&patch)).await)
    }

    fn host(&self) -> &str {
        self.wish.subject.namespace().as_str()
    }

    fn release(&self) -> &str {
        &self.wish.installation.namespace
    }

    /// Bound to the version that was read, so that nobody else's finalizer is lost.
    async fn finalizers(&self, wanted: bool) -> Result<Outcome, Error> {
        let api: Api<VirtualCluster> = Api::namespaced(self.client.clone(), self.host());
        let others = self
            .cluster
            .finalizers()
            .iter()
            .filter(|f| *f != CONTROL_FINALIZER);
        let mut finalizers: Vec<&str> = others.map(String::as_str).collect();
        if wanted {
            finalizers.push(CONTROL_FINALIZER);
        }
        let patch = json!({ "metadata": {
            "uid": self.wish.subject.uid(),
            "resourceVersion": self.cluster.resource_version(),
            "finalizers": finalizers,
        } });
        let name = self.wish.subject.name().as_str();
        let params = PatchParams {
            field_manager: Some(CONTROL.to_owned()),
            ..Default::default()
        };
        written(api.patch(name, &params, &Patch::Merge(&patch)).await)
    }

    async fn claim_namespace(&self, uid: &str) -> Result<Outcome, Error> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let made_for = MadeFor::Uid(self.wish.subject.uid().to_owned());
        let patch = json!({ "metadata": {
            "uid": uid,
            "annotations": { (label::CREATED_FOR): made_for.write() },
        } });
        let params = PatchParams {
            field_manager: Some(CONTROL.to_owned()),
            ..Default::default()
        };
        written(api.patch(self.host(), &params, &Patch::Merge(&patch)).await)
    }

    async fn mint_roots(&self) -> Result<Outcome, Error> {
        let roots = Roots::mint(self.wish.subject, self.now)?;
        let body = self.wish.roots_secret(&roots.material());
        let api: Api<DynamicObject> =
            self.api(Slot::Secret(Credential::ControlPlane), self.release());
        // Created and never applied: of two that try, one is refused and reads the other's.
        created(api.create(&PostParams::default(), &object(body)?).await)
    }

    async fn allocate(&self) -> Result<Outcome, Error> {
        let ranges = self
            .sight
            .observed
            .ranges
            .present()
            .map(|ranges| ranges.all.as_slice())
            .unwrap_or_default();
        for address in candidates(ranges, self.wish.subject.uid(), self.attempt, ADDRESSES) {
            let body = self.wish.service(address);
            match self.apply_raw(Slot::Service, &body, None).await {
                Err(error) if address_is_taken(&error) => {}
                answer => return written(answer),
            }
        }
        Err(Error::Refused(
            "no free address was found in the host's Service range; it is tried again".to_owned(),
        ))
    }

    async fn apply(&self, slot: Slot, body: &Value, over: Option<&str>) -> Result<Outcome, Error> {
        written(self.apply_raw(slot, body, over).await)
    }

    async fn apply_raw(
        &self,
        slot: Slot,
        body: &Value,
        over: Option<&str>,
    ) -> Result<DynamicObject, kube::Error> {
        let api: Api<DynamicObject> = self.api(slot, self.host());
        let name = slot.name(self.wish.subject);
        let params = PatchParams::apply(CONTROL);
        let Some(uid) = over else {
            return api.patch(&name, &params, &Patch::Apply(body)).await;
        };
        let mut body = body.clone();
        body["metadata"]["uid"] = uid.into();
        api.patch(&name, &params.force(), &Patch::Apply(&body))
            .await
    }

    async fn mint(&self, credential: Credential, over: Option<&str>) -> Result<Outcome, Error> {
        let (Some(roots), Some(address)) = (&self.sight.roots, self.sight.address) else {
            return Ok(Outcome::Stale);
        };
        let shared = &self.sight.shared;
        let issuers = Issuers { roots, shared };
        let material = credential.mint(issuers, self.wish.subject, address, self.now)?;
        let slot = Slot::Secret(credential);
        self.apply(slot, &self.wish.secret(slot, &material), over)
            .await
    }

    async fn delete(&self, slot: Slot, uid: &str) -> Result<Outcome, Error> {
        let api: Api<DynamicObject> = self.api(slot, self.host());
        let mut params = bound(uid);
        if matches!(slot, Slot::ControlPlane | Slot::Dns) {
            // Gone means: its pods are gone.
            params.propagation_policy = Some(PropagationPolicy::Foreground);
        }
        deleted(api.delete(&slot.name(self.wish.subject), &params).await)
    }

    /// A refusal keeps the namespace and lets the cluster go.
    async fn delete_namespace(&self, uid: &str) -> Result<Outcome, Error> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        match deleted(api.delete(self.host(), &bound(uid)).await) {
            Err(Error::Refused(text)) => Ok(Outcome::Surveyed(Contents::Unsure(format!(
                "it cannot be removed: {text}"
            )))),
            other => other,
        }
    }

    fn api(&self, slot: Slot, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &slot.resource())
    }
}

fn object(body: Value) -> Result<DynamicObject, Error> {
    serde_json::from_value(body)
        .map_err(|error| Error::Unreachable(Box::new(kube::Error::SerdeError(error))))
}

fn bound(uid: &str) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    })
}

fn written<T>(answer: Result<T, kube::Error>) -> Result<Outcome, Error> {
    match answer {
        Ok(_) => Ok(Outcome::Done),
        // Somebody else changed, made or removed it meanwhile.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
            tracing::debug!(message = status.message, "a write met another state");
            Ok(Outcome::Stale)
        }
        Err(error) => Err(sort(error)),
    }
}

fn created<T>(answer: Result<T, kube::Error>) -> Result<Outcome, Error> {
    written(answer)
}

fn deleted<T>(answer: Result<T, kube::Error>) -> Result<Outcome, Error> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Outcome::Done),
        other => written(other),
    }
}

fn sort(error: kube::Error) -> Error {
    use vcluster_chassis::retry::{Verdict, verdict};
    match (verdict(&error), error) {
        (Verdict::Never, kube::Error::Api(status)) => Error::Refused(status.message),
        (Verdict::Never | Verdict::Retry | Verdict::RetryAfter(_), error) => {
            Error::Unreachable(Box::new(error))
        }
    }
}

/// Whether the API server refuses this very address, so that another one may do.
fn address_is_taken(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 422
        && causes
            .into_iter()
            .any(|cause| cause.field.starts_with("spec.clusterIP"))
}
