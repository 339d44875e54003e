//! What becomes of a PodStatus on its way up.

use super::fate::{Fate, Row, passes, rows as rows_of};

const LISTS: &str = "status.{containerStatuses,initContainerStatuses,ephemeralContainerStatuses}[]";

pub(super) fn rows() -> Vec<Row> {
    [pod_rows(), container_rows(), kept()].concat()
}

fn pod_rows() -> Vec<Row> {
    [
        passes(
            "what became of the pod on its node",
            &[
                "status.{phase,reason,resize,startTime}",
                "status.allocatedResources{}",
                "status.resources.{limits,requests}{}",
                "status.resources.claims[].{name,request}",
            ],
        ),
        passes(
            "addresses that both sides share",
            &["status.{hostIP,podIP}", "status.{hostIPs,podIPs}[].ip"],
        ),
        passes(
            "nodes bear the same name on both sides",
            &["status.nominatedNodeName"],
        ),
        passes(
            "of the host's scheduler and kubelet; readiness gates and the virtual cluster's own conditions stay",
            &["status.conditions[].{lastProbeTime,lastTransitionTime,reason,status,type}"],
        ),
        passes(
            "of the pod's own volumes",
            &[
                "status.volumeHealth[].{lastTransitionTime,name}",
                "status.volumeHealth[].healthConditions[].{reason,status}",
            ],
        ),
        rows_of(
            "host names in it are put back",
            &Fate::Text,
            &[
                "status.message",
                "status.conditions[].message",
                "status.volumeHealth[].healthConditions[].message",
            ],
        ),
        rows_of(
            "generations count separately on each side",
            &Fate::Generation,
            &["status.observedGeneration", "status.conditions[].observedGeneration"],
        ),
    ]
    .concat()
}

fn container_rows() -> Vec<Row> {
    let of = |fields: &str| format!("{LISTS}.{fields}");
    let state = |fields: &str| format!("{LISTS}.{{state,lastState}}.{fields}");
    [
        passes(
            "what became of the container; those that the host injected never show",
            &[
                &of("{containerID,image,imageID,name,ready,restartCount,started,stopSignal}"),
                &of("allocatedResources{}"),
                &of("resources.{limits,requests}{}"),
                &of("resources.claims[].{name,request}"),
                &of("user.linux.{gid,uid}"),
                &of("user.linux.supplementalGroups[]"),
                &of("volumeMounts[].{mountPath,name,readOnly,recursiveReadOnly}"),
                &of("volumeMounts[].volumeStatus.image.imageRef"),
                &state("running.startedAt"),
                &state("terminated.{containerID,exitCode,finishedAt,reason,signal,startedAt}"),
                &state("waiting.reason"),
            ],
        ),
        passes(
            "health of the devices that the container has",
            &[
                &of("allocatedResourcesStatus[].name"),
                &of("allocatedResourcesStatus[].resources[].{health,resourceID}"),
            ],
        ),
        rows_of(
            "host names in it are put back",
            &Fate::Text,
            &[
                &state("{terminated,waiting}.message"),
                &of("allocatedResourcesStatus[].resources[].message"),
            ],
        ),
    ]
    .concat()
}

fn kept() -> Vec<Row> {
    [
        rows_of("immutable", &Fate::Kept, &["status.qosClass"]),
        rows_of(
            "names ResourceClaims of the host",
            &Fate::Kept,
            &[
                "status.resourceClaimStatuses[].{name,resourceClaimName}",
                "status.extendedResourceClaimStatus.resourceClaimName",
                "status.extendedResourceClaimStatus.requestMappings[].{containerName,requestName,resourceName}",
                "status.nodeAllocatableResourceClaimStatuses[].resourceClaimName",
                "status.nodeAllocatableResourceClaimStatuses[].containers[]",
                "status.nodeAllocatableResourceClaimStatuses[].mapping[].{name,quantity}",
                "status.nodeAllocatableResourceClaimStatuses[].overhead[].{name,perContainer,perPod}",
            ],
        ),
    ]
    .concat()
}
