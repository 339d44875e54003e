// The add-ons of the dev cluster for which no upstream program can be built here: one program, so
// that it is linked once. They are test equipment: small, without tuning, and used by nothing else.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"vcluster.dev/dev-addons/ingress"
	"vcluster.dev/dev-addons/policy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("name an add-on: ingress or policy")
	}
	switch args[0] {
	case "ingress":
		return ingress.Run(ctx, args[1:])
	case "policy":
		return policy.Run(ctx)
	default:
		return fmt.Errorf("there is no add-on %q", args[0])
	}
}
