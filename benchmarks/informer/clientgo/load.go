package main

import (
	"context"
	"fmt"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// controller is the field manager of the slices, by the name that the controller has there.
var controller = "kube-controller-manager"

// load creates slices, those of one Service one after another, and their Services.
func load(ctx context.Context, args []string) error {
	flags := newOptions("load")
	first := flags.Int("from", 0, "the number of the first slice")
	end := flags.Int("to", 1000, "the number after that of the last slice")
	workers := flags.Int("workers", 32, "how many requests are under way at a time")
	_ = flags.Parse(args)
	client, err := flags.connect(contentProtobuf)
	if err != nil {
		return err
	}
	if err := createNamespaces(ctx, client); err != nil {
		return err
	}
	from, to := *first/slicesPerService, *end/slicesPerService
	return inParallel(ctx, *workers, from, to, func(ctx context.Context, number int) error {
		return createService(ctx, client, number)
	})
}

func createNamespaces(ctx context.Context, client *kubernetes.Clientset) error {
	for number := range namespaces {
		body := &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: namespace(number)}}
		_, err := client.CoreV1().Namespaces().Create(ctx, body, meta.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

func createService(ctx context.Context, client *kubernetes.Clientset, number int) error {
	services := client.CoreV1().Services(namespace(number))
	service, err := services.Create(ctx, newService(number), meta.CreateOptions{FieldManager: "helm"})
	if err != nil {
		return err
	}
	slices := client.DiscoveryV1().EndpointSlices(service.Namespace)
	for position := range slicesPerService {
		slice := newSlice(number*slicesPerService+position, service)
		if _, err := slices.Create(ctx, slice, meta.CreateOptions{FieldManager: controller}); err != nil {
			return err
		}
	}
	return nil
}

// update sets the conditions of one endpoint in each of so many slices, spread over all of them.
func update(ctx context.Context, args []string) error {
	flags := newOptions("update")
	count := flags.Int("count", 2000, "how many updates")
	size := flags.Int("slices", 1000, "how many slices there are")
	ready := flags.Bool("ready", false, "the conditions ready and serving")
	workers := flags.Int("workers", 8, "how many requests are under way at a time")
	_ = flags.Parse(args)
	client, err := flags.connect(contentProtobuf)
	if err != nil {
		return err
	}
	stride := max(*size / *count, 1)
	return inParallel(ctx, *workers, 0, *count, func(ctx context.Context, number int) error {
		target, position := number*stride%*size, number*stride / *size
		slices := client.DiscoveryV1().EndpointSlices(namespace(target / slicesPerService))
		_, err := slices.Patch(ctx, sliceName(target), types.JSONPatchType, readiness(position, *ready),
			meta.PatchOptions{FieldManager: controller})
		return err
	})
}

func readiness(position int, ready bool) []byte {
	return fmt.Appendf(nil, `[
		{"op":"replace","path":"/endpoints/%[1]d/conditions/ready","value":%[2]t},
		{"op":"replace","path":"/endpoints/%[1]d/conditions/serving","value":%[2]t},
		{"op":"replace","path":"/metadata/annotations/endpoints.kubernetes.io~1last-change-trigger-time","value":%[3]q}
	]`, position, ready, now())
}
