// Package policy enforces NetworkPolicies with nftables on the node it runs on.
//
// The whole rule set is written anew, in one transaction, whenever a pod, namespace or policy
// changes what it says. Connections that are open when a policy comes stay open, and a pod is not
// covered before its address is in its status.
package policy

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// Changes that come together are written together.
const gather = 50 * time.Millisecond

// Run enforces until the context ends; the rules stay behind, so that a restart opens nothing.
func Run(ctx context.Context) error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods()
	namespaces := factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()
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
	for _, informer := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())

	var ready atomic.Bool
	go serveReadiness(&ready)
	signal()
	written := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		time.Sleep(gather)
		allPods, err := pods.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		allNamespaces, err := namespaces.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		allPolicies, err := policies.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		rules, err := Render(allPods, allNamespaces, allPolicies)
		if err != nil {
			return err
		}
		if rules == written {
			continue
		}
		if err := apply(ctx, rules); err != nil {
			return err
		}
		written = rules
		ready.Store(true)
	}
}

func apply(ctx context.Context, rules string) error {
	nft := exec.CommandContext(ctx, "nft", "-f", "-")
	nft.Stdin = bytes.NewBufferString(rules)
	if said, err := nft.CombinedOutput(); err != nil {
		return fmt.Errorf("nft refuses the rules: %w: %s\n%s", err, said, rules)
	}
	return nil
}

// Ready when the first rules are in the kernel.
func serveReadiness(ready *atomic.Bool) {
	answer := func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	if err := http.ListenAndServe("127.0.0.1:10260", http.HandlerFunc(answer)); err != nil {
		fmt.Fprintln(os.Stderr, "no readiness:", err)
	}
}
