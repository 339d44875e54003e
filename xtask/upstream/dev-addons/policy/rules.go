package policy

import (
	"fmt"
	"net/netip"
	"sort"
	"strings"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Render gives the whole rule set as nft reads it. Pure, and the same for the same objects in any
// order.
//
// What a node sends to its own pods is never stopped (the kubelet's probes), as Kubernetes wants.
// What a pod sends is judged after kube-proxy has put a pod's address in the place of the Service's.
// Pods of a node share a link, on which they have IPv6 addresses that the API does not know: by those
// nobody reaches anybody, or each policy could be walked around. They find one another's neighbours, no more.
func Render(pods []*core.Pod, namespaces []*core.Namespace, policies []*networking.NetworkPolicy) (string, error) {
	world := world{namespaces: map[string]labels.Set{}}
	for _, namespace := range namespaces {
		world.namespaces[namespace.Name] = namespace.Labels
	}
	for _, pod := range pods {
		// A host-network pod has the node's address, which is not the pod's to be isolated.
		ended := pod.Status.Phase == core.PodSucceeded || pod.Status.Phase == core.PodFailed
		if !pod.Spec.HostNetwork && !ended {
			world.pods = append(world.pods, pod)
		}
	}
	sort.Slice(world.pods, func(i, j int) bool { return name(world.pods[i]) < name(world.pods[j]) })
	policies = append([]*networking.NetworkPolicy(nil), policies...)
	sort.Slice(policies, func(i, j int) bool { return key(policies[i]) < key(policies[j]) })

	var ingress, egress directions
	for i, family := range families {
		world.family = family
		for _, policy := range policies {
			if err := world.add(policy, &ingress[i], &egress[i]); err != nil {
				return "", fmt.Errorf("%s: %w", key(policy), err)
			}
		}
	}
	return fmt.Sprintf(`table inet network-policies {}
delete table inet network-policies
table inet network-policies {
	chain forward {
		type filter hook forward priority filter - 1; policy accept;
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
		ct state established,related accept
		ip6 saddr fe80::/10 drop
		ip6 daddr fe80::/10 drop
		jump egress
		jump ingress
	}
	chain input {
		type filter hook input priority filter - 1; policy accept;
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
		ct state established,related accept
		jump egress
	}
%s%s}
`, egress.chains("egress", "saddr"), ingress.chains("ingress", "daddr")), nil
}

func key(policy *networking.NetworkPolicy) string { return policy.Namespace + "/" + policy.Name }

func name(pod *core.Pod) string { return pod.Namespace + "/" + pod.Name }

// The word by which nft knows a family of addresses. Each has rules of its own.
type family string

var families = [2]family{"ip", "ip6"}

func (f family) holds(address netip.Addr) bool { return address.Is4() == (f == "ip") }

// The address of this family that a pod has, if it has one.
func (f family) of(pod *core.Pod) (string, bool) {
	for _, each := range pod.Status.PodIPs {
		if address, err := netip.ParseAddr(each.IP); err == nil && f.holds(address) {
			return address.String(), true
		}
	}
	return "", false
}

func (f family) match(side string, addresses []string) string {
	return fmt.Sprintf("%s %s %s", f, side, set(addresses))
}

// Of each family, in their order.
type directions [2]direction

// What is isolated in a direction, and what is let through all the same.
type direction struct {
	isolated []string
	allowed  []string
}

func (d directions) chains(name, side string) string {
	var allowed, isolated strings.Builder
	for i, family := range families {
		for _, rule := range d[i].allowed {
			fmt.Fprintf(&allowed, "\t\t%s return\n", rule)
		}
		if len(d[i].isolated) > 0 {
			fmt.Fprintf(&isolated, "\t\t%s jump %s-isolated\n", family.match(side, d[i].isolated), name)
		}
	}
	return fmt.Sprintf("\tchain %s-isolated {\n%s\t\tdrop\n\t}\n\tchain %s {\n%s\t}\n", name, allowed.String(), name, isolated.String())
}

type world struct {
	pods       []*core.Pod
	namespaces map[string]labels.Set
	// Whose addresses are looked at.
	family family
}

func (w *world) add(policy *networking.NetworkPolicy, ingress, egress *direction) error {
	selected, err := w.selected(policy.Namespace, nil, &policy.Spec.PodSelector)
	if err != nil || len(selected) == 0 {
		return err
	}
	own := w.addresses(selected)
	if len(own) == 0 {
		return nil
	}
	for _, kind := range policy.Spec.PolicyTypes {
		switch kind {
		case networking.PolicyTypeIngress:
			ingress.isolated = append(ingress.isolated, own...)
		case networking.PolicyTypeEgress:
			egress.isolated = append(egress.isolated, own...)
		}
	}
	for _, rule := range policy.Spec.Ingress {
		peers, _, err := w.peers(policy.Namespace, rule.From, "saddr")
		if err != nil {
			return err
		}
		for _, port := range w.ports(rule.Ports, selected) {
			target := own
			if port.only != nil {
				target = port.only
			}
			for _, peer := range peers {
				ingress.allowed = append(ingress.allowed, join(w.family.match("daddr", target), peer, port.match))
			}
		}
	}
	for _, rule := range policy.Spec.Egress {
		peers, targets, err := w.peers(policy.Namespace, rule.To, "daddr")
		if err != nil {
			return err
		}
		for _, port := range w.ports(rule.Ports, targets) {
			if port.only != nil {
				egress.allowed = append(egress.allowed, join(w.family.match("saddr", own), w.family.match("daddr", port.only), port.match))
				continue
			}
			for _, peer := range peers {
				egress.allowed = append(egress.allowed, join(w.family.match("saddr", own), peer, port.match))
			}
		}
	}
	return nil
}

// The matches of the other side, one of which must hold, and the pods among them. No peer at all
// means everybody.
func (w *world) peers(namespace string, peers []networking.NetworkPolicyPeer, side string) ([]string, []*core.Pod, error) {
	if len(peers) == 0 {
		return []string{""}, w.pods, nil
	}
	var matches []string
	var pods []*core.Pod
	for _, peer := range peers {
		if block := peer.IPBlock; block != nil {
			if match, ok := w.family.block(block, side); ok {
				matches = append(matches, match)
			}
			continue
		}
		found, err := w.selected(namespace, peer.NamespaceSelector, peer.PodSelector)
		if err != nil {
			return nil, nil, err
		}
		pods = append(pods, found...)
	}
	if found := w.addresses(pods); len(found) > 0 {
		matches = append(matches, w.family.match(side, found))
	}
	return matches, pods, nil
}

// What a block matches. A block of which a part cannot be read lets nobody through. One match for
// each exception: nft refuses a set whose elements overlap, and with it the rules of everybody.
func (f family) block(block *networking.IPBlock, side string) (string, bool) {
	prefix, err := netip.ParsePrefix(block.CIDR)
	if err != nil || !f.holds(prefix.Addr()) {
		return "", false
	}
	match := fmt.Sprintf("%s %s %s", f, side, prefix.Masked())
	for _, text := range block.Except {
		except, err := netip.ParsePrefix(text)
		if err != nil || !f.holds(except.Addr()) {
			return "", false
		}
		match += fmt.Sprintf(" %s %s != %s", f, side, except.Masked())
	}
	return match, true
}

// Pods of the namespaces that the selector names, or of this namespace where there is none.
func (w *world) selected(namespace string, namespaces, pods *meta.LabelSelector) ([]*core.Pod, error) {
	ofPods := labels.Everything()
	var err error
	if pods != nil {
		if ofPods, err = meta.LabelSelectorAsSelector(pods); err != nil {
			return nil, err
		}
	}
	var ofNamespaces labels.Selector
	if namespaces != nil {
		if ofNamespaces, err = meta.LabelSelectorAsSelector(namespaces); err != nil {
			return nil, err
		}
	}
	var found []*core.Pod
	for _, pod := range w.pods {
		here := pod.Namespace == namespace
		if ofNamespaces != nil {
			known, there := w.namespaces[pod.Namespace]
			here = there && ofNamespaces.Matches(known)
		}
		if here && ofPods.Matches(labels.Set(pod.Labels)) {
			found = append(found, pod)
		}
	}
	return found, nil
}

// A match of ports; of a named port only on those pods where the name means this number.
type port struct {
	match string
	only  []string
}

func (w *world) ports(wanted []networking.NetworkPolicyPort, targets []*core.Pod) []port {
	if len(wanted) == 0 {
		return []port{{}}
	}
	var found []port
	for _, each := range wanted {
		protocol := core.ProtocolTCP
		if each.Protocol != nil {
			protocol = *each.Protocol
		}
		name := strings.ToLower(string(protocol))
		switch {
		case each.Port == nil:
			found = append(found, port{match: "meta l4proto " + name})
		case each.Port.Type == intstr.Int && each.EndPort != nil:
			found = append(found, port{match: fmt.Sprintf("%s dport %d-%d", name, each.Port.IntVal, *each.EndPort)})
		case each.Port.Type == intstr.Int:
			found = append(found, port{match: fmt.Sprintf("%s dport %d", name, each.Port.IntVal)})
		default:
			numbers := map[int32][]string{}
			for _, pod := range targets {
				address, has := w.family.of(pod)
				if !has {
					continue
				}
				for _, container := range pod.Spec.Containers {
					for _, declared := range container.Ports {
						if declared.Name == each.Port.StrVal && declared.Protocol == protocol {
							numbers[declared.ContainerPort] = append(numbers[declared.ContainerPort], address)
						}
					}
				}
			}
			for number, only := range numbers {
				found = append(found, port{match: fmt.Sprintf("%s dport %d", name, number), only: only})
			}
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].match < found[j].match })
	return found
}

func (w *world) addresses(pods []*core.Pod) []string {
	var found []string
	for _, pod := range pods {
		if address, has := w.family.of(pod); has {
			found = append(found, address)
		}
	}
	return found
}

// An anonymous set, each element once.
func set(elements []string) string {
	sorted := append([]string(nil), elements...)
	sort.Strings(sorted)
	unique := sorted[:0]
	for i, element := range sorted {
		if i == 0 || element != sorted[i-1] {
			unique = append(unique, element)
		}
	}
	return "{ " + strings.Join(unique, ", ") + " }"
}

func join(parts ...string) string {
	return strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
}
