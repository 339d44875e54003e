//! `vcluster.sync.v1.SyncService`: shows tenants, and which object of one side is which of the other.
//!
//! The host cluster is asked on every call whether the caller may `get` (or `list`) the virtual cluster; who the
//! caller is stands in the request by the caller layer.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::join_all;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use vcluster_chassis::access::{Attributes, Authorizer};
use vcluster_chassis::grpc::caller;
use vcluster_proto::sync::v1 as wire;
use vcluster_proto::sync::v1::sync_service_client::SyncServiceClient;
use vcluster_proto::sync::v1::sync_service_server::SyncService;
use vcluster_translate::{name, owner};

use crate::bill::{Bill, Passed};
use crate::engine::Engine;
use crate::metrics::State;
use crate::object::{Kind, Name, Side};
use crate::tenant::{Id, Tenant};
use crate::tenants::status;

mod discovery;
mod elsewhere;
mod explain;
mod refuse;
mod request;
mod resync;

pub use elsewhere::Elsewhere;
use elsewhere::{again, is_passed_on};
use refuse::{not_found, not_leading, unavailable};
use request::{Asked, List, Object, One, Translate};

/// The service.
#[derive(Debug)]
pub struct Service {
    engine: Arc<Engine>,
    authorizer: Authorizer,
    elsewhere: Elsewhere,
}

impl Service {
    /// Makes it.
    pub fn new(engine: Arc<Engine>, authorizer: Authorizer, elsewhere: Elsewhere) -> Self {
        Self {
            engine,
            authorizer,
            elsewhere,
        }
    }

    /// The answer of the replica that serves a virtual cluster, if this one does not and may ask.
    async fn pass_on<M, A, F, Asked>(
        &self,
        request: &Request<M>,
        one: &One,
        call: F,
    ) -> Option<Result<Response<A>, Status>>
    where
        M: Clone,
        F: FnOnce(SyncServiceClient<Channel>, Request<M>) -> Asked,
        Asked: Future<Output = Result<Response<A>, Status>> + Send,
    {
        if is_passed_on(request) || self.engine.tenant(&one.namespace, &one.name).is_some() {
            return None;
        }
        let known = self.engine.standing().of(&one.namespace, &one.name);
        let address = known.and_then(|(id, _, _)| self.engine.replicas.address(&id.uid))?;
        Some(match again(request) {
            Ok(asked) => self.elsewhere.ask(address, asked, call).await,
            Err(status) => Err(status),
        })
    }

    /// Puts what other replicas tell of the tenants that they serve in the place of what this one knows of them.
    async fn complete(
        &self,
        request: &Request<wire::ListTenantsRequest>,
        page: &mut [wire::Tenant],
    ) -> Result<(), Status> {
        let mut asked = Vec::new();
        for address in self.engine.replicas.addresses() {
            let request = again(request)?;
            let ask = |mut client: SyncServiceClient<Channel>, asked| async move {
                client.list_tenants(asked).await
            };
            asked.push(self.elsewhere.ask(address, request, ask));
        }
        for answer in join_all(asked).await {
            let told = match answer {
                Ok(answer) => answer.into_inner().tenants,
                Err(status) => {
                    // What this one knows says who serves them.
                    tracing::warn!(%status, "another replica does not tell of its tenants");
                    continue;
                }
            };
            for told in told {
                let same = |one: &&mut wire::Tenant| {
                    one.host_namespace == told.host_namespace && one.name == told.name
                };
                if let Some(place) = page.iter_mut().find(same) {
                    *place = told;
                }
            }
        }
        Ok(())
    }

    async fn authorize<T>(
        &self,
        request: &Request<T>,
        verb: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(), Status> {
        let attributes = Attributes {
            group: "vcluster.dev".to_owned(),
            resource: "virtualclusters".to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            verb: verb.to_owned(),
            ..Attributes::default()
        };
        Ok(self
            .authorizer
            .check(caller::of(request)?, &attributes)
            .await?)
    }

    /// A tenant that is worked for.
    fn tenant(&self, one: &One) -> Result<Arc<Tenant>, Status> {
        if let Some(tenant) = self.engine.tenant(&one.namespace, &one.name) {
            return Ok(tenant);
        }
        let waiting = self.waiting(one)?;
        Err(unavailable(&waiting.message))
    }

    /// A virtual cluster that is not worked for, and why.
    fn waiting(&self, one: &One) -> Result<wire::Tenant, Status> {
        let standing = self.engine.standing();
        match standing.of(&one.namespace, &one.name) {
            Some((id, state, message)) => Ok(wire::Tenant {
                host_namespace: id.namespace,
                name: id.name,
                state: state_of(state).into(),
                message,
                ..wire::Tenant::default()
            }),
            None if standing.is_complete() => {
                Err(not_found(&format!("{}/{}", one.namespace, one.name)))
            }
            None => Err(not_leading()),
        }
    }

    /// A virtual cluster as it is now.
    fn shown(&self, one: &One) -> Result<wire::Tenant, Status> {
        match self.engine.tenant(&one.namespace, &one.name) {
            Some(tenant) => Ok(self.show(&tenant)),
            None => self.waiting(one),
        }
    }

    /// Every virtual cluster by namespace and name.
    fn all(&self) -> Result<Vec<Id>, Status> {
        let mut all = {
            let standing = self.engine.standing();
            if !standing.is_complete() {
                return Err(not_leading());
            }
            standing.ids()
        };
        all.extend(self.engine.all().iter().map(|tenant| tenant.id.clone()));
        all.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        // One that is worked for was said to wait before.
        all.dedup_by(|a, b| a.namespace == b.namespace && a.name == b.name);
        Ok(all)
    }

    fn show(&self, tenant: &Tenant) -> wire::Tenant {
        let (state, message) = status::state(tenant);
        let depth = self.engine.work.depth(tenant.ticket);
        wire::Tenant {
            host_namespace: tenant.id.namespace.clone(),
            name: tenant.id.name.clone(),
            state: state_of(state).into(),
            message,
            kinds: Kind::all()
                .filter(|kind| kind.is_translated() || kind.is_mirrored())
                .map(|kind| self.kind(tenant, kind))
                .collect(),
            queued: number(depth.queued),
            retrying: number(depth.retrying),
            host_writes: tenant.tally.host_writes.load(Ordering::Relaxed),
            virtual_writes: tenant.tally.virtual_writes.load(Ordering::Relaxed),
            bill: Some(bill(&tenant.bill)),
        }
    }

    fn kind(&self, tenant: &Tenant, kind: Kind) -> wire::KindStatus {
        let state = tenant.state();
        wire::KindStatus {
            kind: kind.as_str().to_owned(),
            virtual_listed: state.is_listed(Side::Virtual, kind),
            host_listed: if kind.is_mirrored() {
                self.engine.is_listed(kind)
            } else {
                state.is_listed(Side::Host, kind)
            },
            objects: number(state.count(kind)),
        }
    }

    /// The virtual object of a host object, which must exist and be this tenant's.
    async fn virtual_of(&self, tenant: &Tenant, kind: Kind, host: &str) -> Result<Name, Status> {
        let place = Name::new(&tenant.id.namespace, host);
        let found = tenant.read(Side::Host, kind, &place).await;
        let found = found.map_err(|failure| unavailable(&failure.to_string()))?;
        found
            .and_then(|object| owner::of_ours(object.json(), &tenant.context))
            .filter(|owner| owner.kind == kind.as_str())
            .map(|owner| Name::new(&owner.namespace, &owner.name))
            .ok_or_else(|| not_found(&format!("{kind} {host}, synced for {}", tenant.id)))
    }
}

#[tonic::async_trait]
impl SyncService for Service {
    async fn list_tenants(
        &self,
        request: Request<wire::ListTenantsRequest>,
    ) -> Result<Response<wire::ListTenantsResponse>, Status> {
        let list = List::try_from(request.get_ref())?;
        self.authorize(&request, "list", &list.namespace, "")
            .await?;
        let is_passed_on = is_passed_on(&request);
        let mut all = self.all()?;
        if is_passed_on {
            // Another replica asks for what it does not serve itself.
            all.retain(|id| self.engine.by_id(id).is_some());
        }
        let wanted = all.iter().filter(|id| list.holds(id));
        let page: Vec<_> = wanted.take(list.size + 1).collect();
        let next = page
            .get(list.size)
            .and_then(|_more| page.get(list.size - 1));
        let mut tenants: Vec<_> = page
            .iter()
            .take(list.size)
            // One that has gone meanwhile is left out.
            .filter_map(|id| self.shown(&One::from(*id)).ok())
            .collect();
        let next_page_token = next.map(|last| request::token(last)).unwrap_or_default();
        if !is_passed_on {
            self.complete(&request, &mut tenants).await?;
        }
        Ok(Response::new(wire::ListTenantsResponse {
            tenants,
            next_page_token,
        }))
    }

    async fn get_tenant(
        &self,
        request: Request<wire::GetTenantRequest>,
    ) -> Result<Response<wire::GetTenantResponse>, Status> {
        let one = One::try_from(request.get_ref())?;
        self.authorize(&request, "get", &one.namespace, &one.name)
            .await?;
        let passed_on = self.pass_on(&request, &one, |mut client, asked| async move {
            client.get_tenant(asked).await
        });
        if let Some(answer) = passed_on.await {
            return answer;
        }
        let tenant = self.shown(&one)?;
        let now = self.engine.clock.now();
        Ok(Response::new(wire::GetTenantResponse {
            tenant: Some(tenant),
            read_time: Some(time(now)),
        }))
    }

    async fn translate_name(
        &self,
        request: Request<wire::TranslateNameRequest>,
    ) -> Result<Response<wire::TranslateNameResponse>, Status> {
        let wanted = Translate::try_from(request.get_ref())?;
        let one = &wanted.tenant;
        self.authorize(&request, "get", &one.namespace, &one.name)
            .await?;
        let passed_on = self.pass_on(&request, one, |mut client, asked| async move {
            client.translate_name(asked).await
        });
        if let Some(answer) = passed_on.await {
            return answer;
        }
        let tenant = self.tenant(one)?;
        let (name, host) = match wanted.object {
            Object::Virtual(name) => {
                let host = name::of_kind(wanted.kind, &name.namespace, &name.name, &tenant.context);
                (name, host)
            }
            Object::Host(host) => (self.virtual_of(&tenant, wanted.kind, &host).await?, host),
        };
        Ok(Response::new(wire::TranslateNameResponse {
            r#virtual: Some(wire::VirtualObject {
                namespace: name.namespace.as_ref().to_owned(),
                name: name.name.as_ref().to_owned(),
            }),
            host_object_name: host,
        }))
    }

    async fn explain(
        &self,
        request: Request<wire::ExplainRequest>,
    ) -> Result<Response<wire::ExplainResponse>, Status> {
        let asked = Asked::try_from(request.get_ref())?;
        let one = &asked.tenant;
        self.authorize(&request, "get", &one.namespace, &one.name)
            .await?;
        let passed_on = self.pass_on(&request, one, |mut client, asked| async move {
            client.explain(asked).await
        });
        if let Some(answer) = passed_on.await {
            return answer;
        }
        let Some(tenant) = self.engine.tenant(&one.namespace, &one.name) else {
            let waiting = self.waiting(one)?;
            return Ok(Response::new(explain::unserved(
                &self.engine,
                asked,
                waiting,
            )));
        };
        let answer = explain::of_tenant(&self.engine, &tenant, asked).await?;
        Ok(Response::new(answer))
    }

    async fn resync(
        &self,
        request: Request<wire::ResyncRequest>,
    ) -> Result<Response<wire::ResyncResponse>, Status> {
        let asked = Asked::try_from(request.get_ref())?;
        let one = &asked.tenant;
        self.authorize(&request, "update", &one.namespace, &one.name)
            .await?;
        let passed_on = self.pass_on(&request, one, |mut client, asked| async move {
            client.resync(asked).await
        });
        if let Some(answer) = passed_on.await {
            return answer;
        }
        let tenant = self.tenant(one)?;
        let objects = resync::of_tenant(&tenant, &asked)?;
        Ok(Response::new(wire::ResyncResponse {
            objects: number(objects),
        }))
    }
}

fn bill(bill: &Bill) -> wire::Bill {
    let cpu = bill.cpu();
    wire::Bill {
        cpu_time: Some(prost_types::Duration {
            seconds: i64::try_from(cpu.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(cpu.subsec_nanos()).unwrap_or(i32::MAX),
        }),
        r#virtual: Some(traffic(bill.virtual_.passed())),
        host: Some(traffic(bill.host.passed())),
    }
}

fn traffic(passed: Passed) -> wire::Traffic {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    wire::Traffic {
        requests: count(passed.requests),
        bytes_sent: count(passed.sent),
        bytes_received: count(passed.received),
        watches: passed.watches,
    }
}

fn time(moment: jiff::Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: moment.as_second(),
        nanos: moment.subsec_nanosecond(),
    }
}

fn state_of(state: State) -> wire::TenantState {
    match state {
        State::Starting => wire::TenantState::Starting,
        State::Synced => wire::TenantState::Synced,
        State::Frozen => wire::TenantState::Frozen,
        State::Draining => wire::TenantState::Draining,
    }
}

fn number(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
