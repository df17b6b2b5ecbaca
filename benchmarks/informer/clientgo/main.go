// Command clientgo is the Go half of the informer benchmark. `load` fills an API server with Services and
// EndpointSlices, `update` changes some of the slices, and `informer` is what this project is measured beside.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	contentJSON     = "application/json"
	contentProtobuf = "application/vnd.kubernetes.protobuf"
)

var commands = map[string]func(context.Context, []string) error{
	"load":     load,
	"update":   update,
	"informer": informer,
	"version":  version,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: clientgo load|update|informer|version [FLAG ...]")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](ctx, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "clientgo:", err)
		os.Exit(1)
	}
}

// options are the flags that every command has.
type options struct {
	*flag.FlagSet
	kubeconfig *string
}

func newOptions(name string) options {
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	return options{flags, flags.String("kubeconfig", "", "where the API server is, and the rights")}
}

// connect makes a client without a limit on its requests.
func (o options) connect(content string) (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", *o.kubeconfig)
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.QPS = -1
	config.ContentType = content
	if content != contentJSON {
		config.AcceptContentTypes = content + "," + contentJSON
	}
	return kubernetes.NewForConfig(config)
}

// inParallel calls do for every number from first up to, and without, end. It gives the first error.
func inParallel(ctx context.Context, workers, first, end int, do func(context.Context, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	numbers := make(chan int)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for number := range numbers {
				if err := do(ctx, number); err != nil {
					cancel(err)
				}
			}
		})
	}
	for number := first; number < end && ctx.Err() == nil; number++ {
		numbers <- number
	}
	close(numbers)
	group.Wait()
	return context.Cause(ctx)
}
