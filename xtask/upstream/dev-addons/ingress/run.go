package ingress

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// Run serves until the context ends.
func Run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("ingress", flag.ContinueOnError)
	published := flags.String("address", "", "the address for the Ingresses' status")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	fallback, err := selfSigned()
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	ingresses := factory.Networking().V1().Ingresses()
	classes := factory.Networking().V1().IngressClasses()
	services := factory.Core().V1().Services()
	secrets := factory.Core().V1().Secrets()
	changed := make(chan struct{}, 1)
	signal := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { signal() },
		UpdateFunc: func(any, any) { signal() },
		DeleteFunc: func(any) { signal() },
	}
	for _, informer := range []cache.SharedIndexInformer{ingresses.Informer(), classes.Informer(), services.Informer(), secrets.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())

	var table atomic.Pointer[Table]
	table.Store(Build(nil, nil, nil))
	failed := make(chan error, 2)
	go func() { failed <- serve(&table, fallback) }()
	signal()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-changed:
		}
		time.Sleep(50 * time.Millisecond)
		everyClass, err := classes.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		all, err := ingresses.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		allServices, err := services.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		allSecrets, err := secrets.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		ours := mine(all, everyClass)
		table.Store(Build(ours, allServices, allSecrets))
		for _, ingress := range ours {
			if err := publish(ctx, client, ingress, *published); err != nil {
				fmt.Fprintf(os.Stderr, "no status for %s/%s: %v\n", ingress.Namespace, ingress.Name, err)
			}
		}
	}
}

func mine(ingresses []*networking.Ingress, classes []*networking.IngressClass) []*networking.Ingress {
	names := map[string]bool{}
	for _, class := range classes {
		names[class.Name] = class.Spec.Controller == Controller
	}
	var found []*networking.Ingress
	for _, ingress := range ingresses {
		if name := ingress.Spec.IngressClassName; name != nil && names[*name] && ingress.DeletionTimestamp == nil {
			found = append(found, ingress)
		}
	}
	return found
}

func publish(ctx context.Context, client kubernetes.Interface, ingress *networking.Ingress, address string) error {
	has := ingress.Status.LoadBalancer.Ingress
	if address == "" || len(has) == 1 && has[0].IP == address {
		return nil
	}
	changed := ingress.DeepCopy()
	changed.Status.LoadBalancer.Ingress = []networking.IngressLoadBalancerIngress{{IP: address}}
	_, err := client.NetworkingV1().Ingresses(ingress.Namespace).UpdateStatus(ctx, changed, meta.UpdateOptions{})
	return err
}

type backend struct{}

func serve(table *atomic.Pointer[Table], fallback *tls.Certificate) error {
	proxy := &httputil.ReverseProxy{
		// Streams and upgrades are passed on as they come.
		FlushInterval: -1,
		Rewrite: func(request *httputil.ProxyRequest) {
			if target, ok := request.In.Context().Value(backend{}).(*url.URL); ok {
				request.SetURL(target)
			}
			request.Out.Host = request.In.Host
			request.SetXForwarded()
		},
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		target, routed := table.Load().Find(strings.ToLower(host), r.URL.Path)
		switch {
		case !routed:
			http.Error(w, "no Ingress names this host and path", http.StatusNotFound)
		case target == nil:
			http.Error(w, "the Ingress names a Service or port that is not there", http.StatusServiceUnavailable)
		default:
			proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), backend{}, target)))
		}
	})
	failed := make(chan error, 2)
	go func() { failed <- http.ListenAndServe(":8080", handler) }()
	secure := http.Server{Addr: ":8443", Handler: handler, TLSConfig: &tls.Config{
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if found := table.Load().Certificate(strings.ToLower(hello.ServerName)); found != nil {
				return found, nil
			}
			return fallback, nil
		},
	}}
	go func() { failed <- secure.ListenAndServeTLS("", "") }()
	return errors.Join(<-failed)
}

// For names that no Ingress brings a certificate for.
func selfSigned() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(10, 0, 0)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{certificate}, PrivateKey: key}, nil
}
