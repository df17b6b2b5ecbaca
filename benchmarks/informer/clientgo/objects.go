package main

import (
	"fmt"
	"time"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	namespaces        = 20
	slicesPerService  = 5
	endpointsPerSlice = 10
	zones             = 3
	nodes             = 500
	triggerTime       = "endpoints.kubernetes.io/last-change-trigger-time"
)

func namespace(number int) string {
	return fmt.Sprintf("team-%02d", number%namespaces)
}

func serviceName(number int) string {
	return fmt.Sprintf("backend-%05d", number)
}

func sliceName(number int) string {
	return fmt.Sprintf("%s-%05x", serviceName(number/slicesPerService), number*7919%0x100000)
}

func chartLabels(number int) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name":       serviceName(number),
		"app.kubernetes.io/managed-by": "Helm",
	}
}

// newService is a Service as a chart would create it.
func newService(number int) *core.Service {
	return &core.Service{
		ObjectMeta: meta.ObjectMeta{Name: serviceName(number), Namespace: namespace(number), Labels: chartLabels(number)},
		Spec: core.ServiceSpec{
			ClusterIP: core.ClusterIPNone,
			Selector:  map[string]string{"app.kubernetes.io/name": serviceName(number)},
			Ports:     []core.ServicePort{{Name: "grpc", Port: 50051, AppProtocol: new("kubernetes.io/h2c")}},
		},
	}
}

// newSlice is an EndpointSlice with all that the endpoint slice controller writes.
func newSlice(number int, service *core.Service) *discovery.EndpointSlice {
	owned := map[string]string{
		discovery.LabelServiceName: service.Name,
		discovery.LabelManagedBy:   "endpointslice-controller.k8s.io",
		core.IsHeadlessService:     "",
	}
	for name, value := range service.Labels {
		owned[name] = value
	}
	slice := &discovery.EndpointSlice{
		ObjectMeta: meta.ObjectMeta{
			Name:         sliceName(number),
			GenerateName: service.Name + "-",
			Namespace:    service.Namespace,
			Labels:       owned,
			Annotations:  map[string]string{triggerTime: now()},
			OwnerReferences: []meta.OwnerReference{
				*meta.NewControllerRef(service, core.SchemeGroupVersion.WithKind("Service")),
			},
		},
		AddressType: discovery.AddressTypeIPv4,
		Ports: []discovery.EndpointPort{{
			Name:        new("grpc"),
			Port:        new(int32(50051)),
			Protocol:    new(core.ProtocolTCP),
			AppProtocol: new("kubernetes.io/h2c"),
		}},
	}
	for position := range endpointsPerSlice {
		slice.Endpoints = append(slice.Endpoints, newEndpoint(number*endpointsPerSlice+position, service))
	}
	return slice
}

func newEndpoint(number int, service *core.Service) discovery.Endpoint {
	node := number % nodes
	return discovery.Endpoint{
		Addresses: []string{fmt.Sprintf("10.%d.%d.%d", number>>16, number>>8&255, number&255)},
		Conditions: discovery.EndpointConditions{
			Ready:       new(true),
			Serving:     new(true),
			Terminating: new(false),
		},
		NodeName: new(fmt.Sprintf("ip-10-200-%d-%d.compute.internal", node>>8, node&255)),
		Zone:     new(fmt.Sprintf("region-1%c", 'a'+node%zones)),
		TargetRef: &core.ObjectReference{
			Kind:      "Pod",
			Namespace: service.Namespace,
			Name:      fmt.Sprintf("%s-%010x-%05x", service.Name, number/100, number),
			UID:       types.UID(fmt.Sprintf("%08x-5d2c-4f0b-9a51-%012x", number*2654435761&0xffffffff, number)),
		},
	}
}

func now() string {
	return time.Now().UTC().Format(time.RFC3339Nano)
}
