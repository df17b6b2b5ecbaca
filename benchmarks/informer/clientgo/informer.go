package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
)

// informer mirrors EndpointSlices and Services in the caches of a shared informer factory, as it comes: no transform,
// no resync, no handlers. Its owner tells it what to do by lines on the standard input; it says when it has.
func informer(ctx context.Context, args []string) error {
	flags := newOptions("informer")
	protobuf := flags.Bool("protobuf", false, "ask for protobuf in the place of JSON")
	_ = flags.Parse(args)
	content := contentJSON
	if *protobuf {
		content = contentProtobuf
	}
	client, err := flags.connect(content)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	factory := informers.NewSharedInformerFactory(client, 0)
	defer factory.Shutdown()
	defer stop()
	slices := factory.Discovery().V1().EndpointSlices()
	services := factory.Core().V1().Services()
	slices.Informer()
	services.Informer()
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "go":
			factory.StartWithContext(ctx)
			if result := factory.WaitForCacheSyncWithContext(ctx); result.Err != nil {
				return result.Err
			}
			fmt.Println("synced")
		case "count":
			ready, err := countReady(slices.Lister().List(labels.Everything()))
			if err != nil {
				return err
			}
			fmt.Println(ready)
		case "trim":
			debug.FreeOSMemory()
			fmt.Println("trimmed")
		default:
			return errors.New("unknown command " + lines.Text())
		}
	}
	return nil
}

func countReady(slices []*discovery.EndpointSlice, err error) (int, error) {
	ready := 0
	for _, slice := range slices {
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
				ready++
			}
		}
	}
	return ready, err
}
