//! Addresses that are allowed and refused.

use serde_json::json;

use super::*;

fn ips(all: &[&str]) -> BTreeSet<IpAddr> {
    all.iter().map(|ip| ip.parse().unwrap()).collect()
}

fn nets(all: &[&str]) -> Vec<IpNet> {
    all.iter().map(|net| net.parse().unwrap()).collect()
}

fn known() -> Destinations {
    Destinations {
        pods: ips(&["10.244.1.7", "fd00:1::7"]),
        host: Host {
            machines: ips(&["192.168.0.10", "fd00:9::10", "34.1.2.3"]),
            services: nets(&["10.96.0.0/12", "fd00:96::/108"]),
            pods: Some(nets(&["10.244.0.0/16", "fd00:1::/64"])),
            denied: nets(&["172.16.0.0/12"]),
        },
    }
}

#[test]
fn an_endpoint_is_an_own_pod_or_outside_of_the_host_cluster() {
    for (address, expected) in [
        ("10.244.1.7", Ok(())),
        ("fd00:1::7", Ok(())),
        ("203.0.113.9", Ok(())),
        ("192.168.0.11", Ok(())),
        ("2001:db8::9", Ok(())),
        ("10.244.1.8", Err(Forbidden::Pod)),
        ("fd00:1::8", Err(Forbidden::Pod)),
        ("10.96.0.1", Err(Forbidden::Service)),
        ("10.111.255.255", Err(Forbidden::Service)),
        ("fd00:96::1", Err(Forbidden::Service)),
        ("192.168.0.10", Err(Forbidden::Machine)),
        ("fd00:9::10", Err(Forbidden::Machine)),
        ("34.1.2.3", Err(Forbidden::Machine)),
        ("172.20.0.1", Err(Forbidden::Denied)),
        ("db.example.com", Err(Forbidden::Malformed)),
        ("10.244.1.7/32", Err(Forbidden::Malformed)),
        ("010.244.1.7", Err(Forbidden::Malformed)),
        ("fe80::1%eth0", Err(Forbidden::Malformed)),
        ("", Err(Forbidden::Malformed)),
    ] {
        assert_eq!(known().allow(address), expected, "{address}");
    }
}

#[test]
fn what_is_not_one_machine_of_the_network_is_refused_even_where_the_host_is_not_known() {
    for address in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "169.254.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:192.168.0.10",
        "::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::1",
        "2001::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "fd00:ec2::254",
        "fd20:ce::254",
    ] {
        for known in [known(), Destinations::default()] {
            let refused = known.allow(address);
            assert!(
                matches!(refused, Err(Forbidden::Special(_))),
                "{address}: {refused:?}"
            );
        }
    }
}

#[test]
fn without_the_ranges_of_pods_only_own_pods_are_allowed() {
    let mut known = known();
    known.host.pods = None;
    assert_eq!(known.allow("10.244.1.7"), Ok(()));
    assert_eq!(known.allow("203.0.113.9"), Err(Forbidden::Unknown));
    assert_eq!(
        Destinations::default().allow("203.0.113.9"),
        Err(Forbidden::Unknown)
    );
}

#[test]
fn an_own_pod_that_bears_a_node_s_or_service_s_address_is_no_way_to_it() {
    let mut known = known();
    known.pods = ips(&["192.168.0.10", "10.96.0.1"]);
    assert_eq!(known.allow("192.168.0.10"), Err(Forbidden::Machine));
    assert_eq!(known.allow("10.96.0.1"), Err(Forbidden::Service));
}

#[test]
fn nodes_tell_machines_and_ranges_and_one_that_tells_none_leaves_them_unknown() {
    let node = |ip: &str, range: Option<&str>| {
        json!({
            "spec": {"podCIDRs": range.map(|range| vec![range])},
            "status": {"addresses": [
                {"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": "node"},
            ]},
        })
    };
    let told = [
        node("192.168.0.1", Some("10.244.0.0/24")),
        node("192.168.0.2", Some("10.244.1.0/24")),
    ];
    let (machines, pods) = machines_and_pods(told.iter(), &[]);
    assert_eq!(machines, ips(&["192.168.0.1", "192.168.0.2"]));
    assert_eq!(pods, Some(nets(&["10.244.0.0/24", "10.244.1.0/24"])));
    let silent = [
        node("192.168.0.1", Some("10.244.0.0/24")),
        node("192.168.0.2", None),
    ];
    assert_eq!(machines_and_pods(silent.iter(), &[]).1, None);
    assert_eq!(
        machines_and_pods([].iter() as std::slice::Iter<'_, Value>, &[]).1,
        None
    );
    let given = nets(&["10.0.0.0/8"]);
    assert_eq!(
        machines_and_pods(silent.iter(), &given).1,
        Some(nets(&["10.0.0.0/8", "10.244.0.0/24"]))
    );
}

#[test]
fn a_pod_s_address_is_its_own_while_it_runs_in_a_network_of_its_own() {
    let pod = |host_network: bool, phase: &str| {
        json!({
            "spec": {"hostNetwork": host_network},
            "status": {"phase": phase, "podIPs": [{"ip": "10.244.1.7"}, {"ip": "fd00:1::7"}, {"ip": "x"}]},
        })
    };
    let own: [IpAddr; 2] = ["10.244.1.7", "fd00:1::7"].map(|ip| ip.parse().unwrap());
    assert_eq!(of_pod(&pod(false, "Running")), own);
    assert_eq!(of_pod(&pod(false, "Pending")), own);
    for gone in [
        pod(true, "Running"),
        pod(false, "Failed"),
        pod(false, "Succeeded"),
    ] {
        assert_eq!(of_pod(&gone), [] as [IpAddr; 0]);
    }
}
