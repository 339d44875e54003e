// Command csi-driver is a CSI driver whose volumes are folders of the node: they grow, are cloned and have
// snapshots. Sizes are told and not enforced.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// What the driver is called.
const name = "folder.csi.vcluster.dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// Serves the driver, and makes it known to the kubelet, until the context ends.
func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("csi", flag.ContinueOnError)
	socket := flags.String("socket", "", "the driver's socket, at the path that the kubelet sees")
	announce := flags.String("registration", "", "the socket at which the kubelet asks who we are")
	data := flags.String("data", "", "the folder of all volumes and snapshots")
	node := flags.String("node", "", "this node's name")
	if err := flags.Parse(args); err != nil {
		return err
	}
	driver := &driver{store: store{root: *data}, node: *node}
	if err := driver.store.prepare(); err != nil {
		return err
	}
	plugin := grpc.NewServer()
	csi.RegisterIdentityServer(plugin, driver)
	csi.RegisterControllerServer(plugin, driver)
	csi.RegisterNodeServer(plugin, driver)
	register := grpc.NewServer()
	registration.RegisterRegistrationServer(register, &registrar{socket: *socket})
	failed := make(chan error, 2)
	go func() { failed <- serve(plugin, *socket) }()
	go func() { failed <- serve(register, *announce) }()
	select {
	case <-ctx.Done():
		plugin.GracefulStop()
		register.Stop()
		return nil
	case err := <-failed:
		return err
	}
}

func serve(server *grpc.Server, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	return server.Serve(listener)
}

type registrar struct {
	registration.UnimplementedRegistrationServer
	socket string
}

func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: name, Endpoint: r.socket, SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (r *registrar) NotifyRegistrationStatus(_ context.Context, status *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if !status.PluginRegistered {
		return nil, errors.New("the kubelet refuses the driver: " + status.Error)
	}
	return &registration.RegistrationStatusResponse{}, nil
}
