package lookaside

import (
	"cmp"
	"slices"
	"sync"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/resolver"
)

// Policy is the name of the load-balancing policy that goes by the servers' weights.
const Policy = "lookaside_weighted"

// ServiceConfig chooses [Policy].
const ServiceConfig = `{"loadBalancingConfig": [{"` + Policy + `": {}}]}`

func init() {
	balancer.Register(base.NewBalancerBuilder(Policy, pickers{}, base.Config{HealthCheck: true}))
}

// weights are those of the newest list. All addresses of a channel share them: an attribute of its own would stay what
// it was when the address was first seen.
type weights struct {
	mu        sync.Mutex
	byAddress map[string]int
}

type weightsKey struct{}

func (w *weights) attach(address resolver.Address) resolver.Address {
	address.BalancerAttributes = address.BalancerAttributes.WithValue(weightsKey{}, w)
	return address
}

func (w *weights) set(byAddress map[string]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.byAddress = byAddress
}

func weightOf(address resolver.Address) int {
	w, ok := address.BalancerAttributes.Value(weightsKey{}).(*weights)
	if !ok {
		return 1
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(w.byAddress[address.Addr], 1)
}

type pickers struct{}

// Build makes the picker of the backends that are ready.
func (pickers) Build(info base.PickerBuildInfo) balancer.Picker {
	if len(info.ReadySCs) == 0 {
		return base.NewErrPicker(balancer.ErrNoSubConnAvailable)
	}
	p := &picker{}
	for conn, about := range info.ReadySCs {
		p.backends = append(p.backends, &backend{conn: conn, address: about.Address.Addr, weight: weightOf(about.Address)})
	}
	slices.SortFunc(p.backends, func(a, b *backend) int { return cmp.Compare(a.address, b.address) })
	for _, each := range p.backends {
		p.total += each.weight
	}
	return p
}

type backend struct {
	conn    balancer.SubConn
	address string
	weight  int
	due     int
}

// picker takes at each pick the backend that is due most: in as many picks as the weights sum up to, each backend has
// its weight, and its turns are spread.
type picker struct {
	mu       sync.Mutex
	backends []*backend
	total    int
}

func (p *picker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := p.backends[0]
	for _, each := range p.backends {
		each.due += each.weight
		if each.due > most.due {
			most = each
		}
	}
	most.due -= p.total
	return balancer.PickResult{SubConn: most.conn}, nil
}
