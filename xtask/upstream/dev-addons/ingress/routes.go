// Package ingress is an ingress controller: a reverse proxy that does what the Ingresses of its
// class say, by host and path, in plain HTTP and by TLS.
package ingress

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"sort"
	"strings"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
)

// Controller is what an IngressClass names to mean us.
const Controller = "vcluster.dev/dev-ingress"

// Table says where each request goes. It is never changed: a new one takes its place.
type Table struct {
	routes       []route
	certificates map[string]*tls.Certificate
}

type route struct {
	// Empty for every host; may begin with `*.`.
	host   string
	path   string
	exact  bool
	target *url.URL
}

// Build makes the table. Pure but for parsing certificates; an Ingress that names something that is
// not there routes to an error for as long as it is not there.
func Build(ingresses []*networking.Ingress, services []*core.Service, secrets []*core.Secret) *Table {
	table := &Table{certificates: map[string]*tls.Certificate{}}
	byName := map[string]*core.Service{}
	for _, service := range services {
		byName[service.Namespace+"/"+service.Name] = service
	}
	pairs := map[string]*core.Secret{}
	for _, secret := range secrets {
		pairs[secret.Namespace+"/"+secret.Name] = secret
	}
	for _, ingress := range oldestFirst(ingresses) {
		target := func(backend *networking.IngressBackend) *url.URL {
			if backend == nil || backend.Service == nil {
				return nil
			}
			return address(byName[ingress.Namespace+"/"+backend.Service.Name], backend.Service.Port)
		}
		if ingress.Spec.DefaultBackend != nil {
			table.routes = append(table.routes, route{path: "/", target: target(ingress.Spec.DefaultBackend)})
		}
		for _, rule := range ingress.Spec.Rules {
			if rule.HTTP == nil {
				continue
			}
			for _, path := range rule.HTTP.Paths {
				table.routes = append(table.routes, route{
					host:   rule.Host,
					path:   orRoot(path.Path),
					exact:  path.PathType != nil && *path.PathType == networking.PathTypeExact,
					target: target(&path.Backend),
				})
			}
		}
		for _, pair := range ingress.Spec.TLS {
			secret := pairs[ingress.Namespace+"/"+pair.SecretName]
			if secret == nil {
				continue
			}
			certificate, err := tls.X509KeyPair(secret.Data[core.TLSCertKey], secret.Data[core.TLSPrivateKeyKey])
			if err != nil {
				continue
			}
			for _, host := range pair.Hosts {
				if table.certificates[host] == nil {
					table.certificates[host] = &certificate
				}
			}
		}
	}
	// The most telling first: a host before a wildcard before none, exact before prefix, long before short.
	sort.SliceStable(table.routes, func(i, j int) bool { return table.routes[i].rank() > table.routes[j].rank() })
	return table
}

// Of two that want the same host and path, the one that was there first has it, as with most controllers.
func oldestFirst(ingresses []*networking.Ingress) []*networking.Ingress {
	sorted := append([]*networking.Ingress(nil), ingresses...)
	sort.Slice(sorted, func(i, j int) bool {
		one, other := sorted[i], sorted[j]
		if !one.CreationTimestamp.Equal(&other.CreationTimestamp) {
			return one.CreationTimestamp.Before(&other.CreationTimestamp)
		}
		return one.UID < other.UID
	})
	return sorted
}

func (r route) rank() int {
	rank := len(r.path) * 2
	if r.exact {
		rank++
	}
	switch {
	case strings.HasPrefix(r.host, "*."):
		rank += 1 << 20
	case r.host != "":
		rank += 2 << 20
	}
	return rank
}

// Find gives the backend of a request. No route: nothing, and false; a route to a Service that is
// not there: nothing, and true.
func (t *Table) Find(host, path string) (*url.URL, bool) {
	for _, route := range t.routes {
		if matchesHost(route.host, host) && route.matchesPath(path) {
			return route.target, true
		}
	}
	return nil, false
}

// Certificate of a server name, if an Ingress brought one.
func (t *Table) Certificate(name string) *tls.Certificate {
	if found := t.certificates[name]; found != nil {
		return found
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		return t.certificates["*."+parent]
	}
	return nil
}

func matchesHost(pattern, host string) bool {
	if pattern == "" || pattern == host {
		return true
	}
	parent, wild := strings.CutPrefix(pattern, "*.")
	_, rest, dotted := strings.Cut(host, ".")
	return wild && dotted && rest == parent
}

func (r route) matchesPath(path string) bool {
	if r.exact || path == r.path {
		return path == r.path
	}
	return strings.HasPrefix(path, strings.TrimSuffix(r.path, "/")+"/")
}

func address(service *core.Service, wanted networking.ServiceBackendPort) *url.URL {
	if service == nil {
		return nil
	}
	for _, port := range service.Spec.Ports {
		if port.Port != wanted.Number && (wanted.Name == "" || port.Name != wanted.Name) {
			continue
		}
		host := service.Spec.ClusterIP
		switch {
		case service.Spec.Type == core.ServiceTypeExternalName:
			host = service.Spec.ExternalName
		case host == "" || host == core.ClusterIPNone:
			host = fmt.Sprintf("%s.%s.svc.cluster.local", service.Name, service.Namespace)
		}
		return &url.URL{Scheme: "http", Host: fmt.Sprintf("%s:%d", host, port.Port)}
	}
	return nil
}

func orRoot(path string) string {
	if path == "" {
		return "/"
	}
	return path
}
