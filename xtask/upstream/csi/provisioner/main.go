// Command csi-provisioner is upstream's external-provisioner with a main of ours: its own does not compile with the
// Kubernetes libraries of the other programs here. What it leaves out is not used here: several replicas, capacities,
// metrics, and volumes of drivers that were in Kubernetes itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/kubernetes-csi/csi-lib-utils/metrics"
	upstream "github.com/kubernetes-csi/external-provisioner/v6/pkg/controller"
	snapshots "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	translation "k8s.io/csi-translation-lib"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const (
	timeout = 10 * time.Second
	sweep   = time.Minute
	// Retries begin soon: scenarios wait for them.
	shortest = 500 * time.Millisecond
	longest  = 10 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	address := flag.String("csi-address", "/csi/csi.sock", "the driver's socket")
	flag.Parse()
	if err := run(ctx, *address); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address string) error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ofSnapshots, err := snapshots.NewForConfig(config)
	if err != nil {
		return err
	}
	driver, err := upstream.Connect(ctx, address, metrics.NewCSIMetricsManagerForSidecar(""))
	if err != nil {
		return err
	}
	if err := upstream.Probe(ctx, driver, timeout); err != nil {
		return err
	}
	name, err := upstream.GetDriverName(driver, timeout)
	if err != nil {
		return err
	}
	plugin, abilities, err := upstream.GetDriverCapabilities(driver, timeout)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, upstream.ResyncPeriodOfCsiNodeInformer)
	classes := factory.Storage().V1().StorageClasses().Lister()
	claims := factory.Core().V1().PersistentVolumeClaims()
	provisioner := upstream.NewCSIProvisioner(
		client, timeout, name, "pvc", -1, driver, ofSnapshots, name, plugin, abilities, "", false, true,
		translation.New(), classes, nil, nil, claims.Lister(), nil, nil, false, "", nil, false, true, nil,
	)
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](shortest, longest)
	volumes := controller.NewProvisionController(ctx, client, name, provisioner,
		controller.LeaderElection(false),
		controller.FailedProvisionThreshold(0),
		controller.FailedDeleteThreshold(0),
		controller.RateLimiter(limiter),
		controller.RetryIntervalMax(longest),
		controller.ClaimsInformer(claims.Informer()),
		controller.AddFinalizer(true),
	)
	queue := workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[string](shortest, longest))
	clones := upstream.NewCloningProtectionController(client, claims.Lister(), claims.Informer(), queue, abilities)
	orphans := upstream.NewSnapshotFinalizerController(ofSnapshots, claims.Lister(), abilities, sweep)
	factory.Start(ctx.Done())
	for _, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return errors.New("claims and classes cannot be followed")
		}
	}
	if clones != nil {
		go clones.Run(ctx, 1, nil)
	}
	if orphans != nil {
		go orphans.Run(ctx, nil)
	}
	volumes.Run(ctx)
	return nil
}
