// Command kubeproxy says which endpoints kube-proxy would use, by kube-proxy's own code (k8s.io/kubernetes/pkg/proxy).
//
// It reads states of a Service from standard input, a JSON object a line, and answers each with one line. See `state` and
// `answer`.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	coredefaults "k8s.io/kubernetes/pkg/apis/core/v1"
	discoverydefaults "k8s.io/kubernetes/pkg/apis/discovery/v1"
	"k8s.io/kubernetes/pkg/proxy"
	netutils "k8s.io/utils/net"
)

// state is the history of one Service and of its slices, and who asks at its end.
type state struct {
	// Steps are the events between two syncs of kube-proxy.
	Steps   [][]event `json:"steps"`
	Clients []client  `json:"clients"`
	// Family is the family of the address that stands for a Pod with one of each.
	Family core.IPFamily `json:"family"`
}

// event is an object as it has become, or is deleted.
type event struct {
	Service *core.Service            `json:"service"`
	Slice   *discovery.EndpointSlice `json:"slice"`
	Deleted bool                     `json:"deleted"`
}

type client struct {
	Node string `json:"node"`
	Zone string `json:"zone"`
}

// answer is, for each client and port of the Service, what kube-proxy on the client's node uses in each family, and,
// where the Service has both, what it would use if a family were of no matter and a Pod had one address.
type answer []map[string]map[string]lists

// lists are targets, "terminating" after those that aren't ready.
type lists struct {
	Cluster []string `json:"cluster"`
	Local   []string `json:"local"`
	All     []string `json:"all"`
	// Internal is what traffic to the cluster IP uses, as proxiers choose it: local or cluster.
	Internal []string `json:"internal"`
	// Anywhere is what it would use without a traffic policy, on a node without a name and a zone.
	Anywhere []string `json:"anywhere"`
}

// anywhere is a port of which all endpoints are used, wherever they are.
type anywhere struct{ proxy.ServicePort }

func (anywhere) InternalPolicyLocal() bool  { return false }
func (anywhere) UsesClusterEndpoints() bool { return true }
func (anywhere) UsesLocalEndpoints() bool   { return false }

func main() {
	in := bufio.NewReader(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	decoder := json.NewDecoder(in)
	encoder := json.NewEncoder(out)
	for decoder.More() {
		var one state
		if err := decoder.Decode(&one); err != nil {
			fail(err)
		}
		if err := encoder.Encode(one.answer()); err != nil {
			fail(err)
		}
	}
}

func (s *state) answer() answer {
	for _, step := range s.Steps {
		for _, each := range step {
			complete(each)
		}
	}
	found := answer{}
	for _, asking := range s.Clients {
		found = append(found, s.ports(asking))
	}
	return found
}

// complete gives an object the defaults that the API server gives, and a headless Service made-up cluster IPs:
// kube-proxy has nothing to do with it, and is asked what it would do.
func complete(one event) {
	if one.Slice != nil {
		discoverydefaults.SetObjectDefaults_EndpointSlice(one.Slice)
		return
	}
	service := one.Service
	coredefaults.SetObjectDefaults_Service(service)
	if service.Spec.ClusterIP == core.ClusterIPNone {
		service.Spec.ClusterIPs = nil
		for _, family := range service.Spec.IPFamilies {
			service.Spec.ClusterIPs = append(service.Spec.ClusterIPs, madeUp(family))
		}
		service.Spec.ClusterIP = madeUp(core.IPv4Protocol)
		if len(service.Spec.ClusterIPs) > 0 {
			service.Spec.ClusterIP = service.Spec.ClusterIPs[0]
		}
	}
}

func madeUp(family core.IPFamily) string {
	if family == core.IPv6Protocol {
		return "fd00:10:96::1"
	}
	return "10.96.0.1"
}

func (s *state) ports(asking client) map[string]map[string]lists {
	families := map[core.IPFamily]proxy.ServicePortMap{}
	found := map[string]map[string]lists{}
	for _, family := range []core.IPFamily{core.IPv4Protocol, core.IPv6Protocol} {
		services, endpoints := s.follow(family, asking.Node)
		families[family] = services
		for name, port := range services {
			if port.Protocol() == core.ProtocolTCP {
				put(found, name.Port, string(family), categorize(endpoints[name], port, asking))
			}
		}
	}
	for name, port := range families[core.IPv4Protocol] {
		if _, both := families[core.IPv6Protocol][name]; both && port.Protocol() == core.ProtocolTCP {
			put(found, name.Port, "both", s.both(name, port, asking))
		}
	}
	return found
}

// follow has the trackers of a proxier of one family live through the history.
func (s *state) follow(family core.IPFamily, node string) (proxy.ServicePortMap, proxy.EndpointsMap) {
	serviceTracker := proxy.NewServiceChangeTracker(family, nil, nil)
	tracker := proxy.NewEndpointsChangeTracker(family, node, nil, nil)
	services, endpoints := proxy.ServicePortMap{}, proxy.EndpointsMap{}
	var last *core.Service
	held := map[string]*discovery.EndpointSlice{}
	for _, step := range s.Steps {
		for _, each := range step {
			if each.Slice != nil {
				if before := held[each.Slice.Name]; before != nil && serviceOf(before) != serviceOf(each.Slice) {
					// kube-proxy itself keeps a slice with the Service that its label named before, until it starts anew.
					tracker.EndpointSliceUpdate(before, true)
				}
				tracker.EndpointSliceUpdate(each.Slice, each.Deleted)
				held[each.Slice.Name] = each.Slice
				if each.Deleted {
					delete(held, each.Slice.Name)
				}
				continue
			}
			current := each.Service
			if each.Deleted {
				current = nil
			}
			if last != nil || current != nil {
				serviceTracker.Update(last, current)
			}
			last = current
		}
		services.Update(serviceTracker)
		endpoints.Update(tracker)
	}
	return services, settle(endpoints, family, node, held)
}

func serviceOf(slice *discovery.EndpointSlice) string {
	return slice.Labels[discovery.LabelServiceName]
}

// settle makes of what kube-proxy holds what it holds if it takes the slices in the order of their names, the last
// first, and for an address those last in which it is ready, wherever its code leaves it to the order of a map.
func settle(held proxy.EndpointsMap, family core.IPFamily, node string, byName map[string]*discovery.EndpointSlice) proxy.EndpointsMap {
	ordered := descending(byName)
	fixed := inOrder(ordered, family, node, true, nil)
	if same(held, fixed) {
		return held
	}
	for _, permuted := range permutations(ordered) {
		if same(held, inOrder(permuted, family, node, false, nil)) {
			return fixed
		}
	}
	fail(fmt.Errorf("no order of the slices gives what kube-proxy holds"))
	return nil
}

func descending(byName map[string]*discovery.EndpointSlice) []*discovery.EndpointSlice {
	ordered := []*discovery.EndpointSlice{}
	for _, slice := range byName {
		ordered = append(ordered, slice)
	}
	sort.Slice(ordered, func(i, j int) bool { return ordered[i].Name > ordered[j].Name })
	return ordered
}

// inOrder gives what kube-proxy holds after it has read slices in an order. One slice has the order that it says, so
// those that have a port in common are put into one, in which no two of the others' endpoints can meet.
//
// With preferReady an endpoint that isn't ready goes before one at its address that is ready, in another slice: that is
// another order of the slices for this address, which kube-proxy could have taken as well.
func inOrder(ordered []*discovery.EndpointSlice, family core.IPFamily, node string, preferReady bool, change func(*discovery.Endpoint)) proxy.EndpointsMap {
	joined := map[string]*discovery.EndpointSlice{}
	for _, slice := range ordered {
		if slice.AddressType != discovery.AddressType(family) {
			continue
		}
		for _, port := range slice.Ports {
			if port.Port == nil {
				continue
			}
			key := fmt.Sprintf("%s/%s/%s/%d", serviceOf(slice), *port.Name, *port.Protocol, *port.Port)
			if joined[key] == nil {
				joined[key] = slice.DeepCopy()
				joined[key].Name = "joined-" + strconv.Itoa(len(joined))
				joined[key].Ports = []discovery.EndpointPort{port}
				joined[key].Endpoints = nil
			}
			before, own, after := joined[key].Endpoints, slice.DeepCopy().Endpoints, []discovery.Endpoint{}
			first := []discovery.Endpoint{}
			for _, endpoint := range own {
				address := ip(endpoint)
				later := preferReady && stays(winner(before, address)) && !stays(winner(own, address))
				if change != nil {
					change(&endpoint)
				}
				if later {
					first = append(first, endpoint)
				} else {
					after = append(after, endpoint)
				}
			}
			joined[key].Endpoints = slices.Concat(first, before, after)
		}
	}
	tracker := proxy.NewEndpointsChangeTracker(family, node, nil, nil)
	for _, slice := range joined {
		tracker.EndpointSliceUpdate(slice, false)
	}
	held := proxy.EndpointsMap{}
	held.Update(tracker)
	return held
}

// winner is the endpoint that has an address among those of one slice, as addEndpoints chooses it.
func winner(endpoints []discovery.Endpoint, address string) *discovery.Endpoint {
	var found *discovery.Endpoint
	for i := range endpoints {
		if ip(endpoints[i]) == address && (found == nil || !isTrue(endpoints[i].Conditions.Terminating)) {
			found = &endpoints[i]
		}
	}
	return found
}

func ip(endpoint discovery.Endpoint) string {
	return netutils.ParseIPSloppy(endpoint.Addresses[0]).String()
}

func stays(endpoint *discovery.Endpoint) bool {
	return endpoint != nil && (endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready) &&
		!isTrue(endpoint.Conditions.Terminating)
}

func isTrue(condition *bool) bool {
	return condition != nil && *condition
}

func permutations(of []*discovery.EndpointSlice) [][]*discovery.EndpointSlice {
	if len(of) < 2 {
		return [][]*discovery.EndpointSlice{of}
	}
	found := [][]*discovery.EndpointSlice{}
	for i := range of {
		rest := append(slices.Clone(of[:i]), of[i+1:]...)
		for _, permuted := range permutations(rest) {
			found = append(found, append([]*discovery.EndpointSlice{of[i]}, permuted...))
		}
	}
	return found
}

func same(one, other proxy.EndpointsMap) bool {
	return bytes.Equal(text(one), text(other))
}

func text(held proxy.EndpointsMap) []byte {
	lines := []string{}
	for name, endpoints := range held {
		for _, each := range endpoints {
			lines = append(lines, fmt.Sprintln(name, name.Protocol, each, each.IsLocal(), each.IsReady(), each.IsServing(),
				each.IsTerminating(), sorted(each.ZoneHints()), sorted(each.NodeHints())))
		}
	}
	sort.Strings(lines)
	return []byte(strings.Join(lines, ""))
}

func sorted(names sets.Set[string]) string {
	found := []string{}
	for name := range names {
		found = append(found, strconv.Quote(name))
	}
	sort.Strings(found)
	return strings.Join(found, ",")
}

// both judges the endpoints of both families as one list, in which a Pod that is used by one of the preferred family is
// not used by the other.
func (s *state) both(name proxy.ServicePortName, port proxy.ServicePort, asking client) lists {
	byName := map[string]*discovery.EndpointSlice{}
	for _, step := range s.Steps {
		for _, each := range step {
			if each.Slice != nil && each.Deleted {
				delete(byName, each.Slice.Name)
			} else if each.Slice != nil {
				byName[each.Slice.Name] = each.Slice
			}
		}
	}
	uids := map[string]string{}
	named := func(endpoint *discovery.Endpoint) {
		// Hints are all that kube-proxy keeps of an endpoint beside its address and conditions: they carry the UID
		// here, and are for no client.
		uid := ""
		if endpoint.TargetRef != nil {
			uid = string(endpoint.TargetRef.UID)
		}
		endpoint.Hints = &discovery.EndpointHints{ForZones: []discovery.ForZone{{Name: "uid of " + uid}}}
	}
	ordered := descending(byName)
	judged, anonymous := []proxy.Endpoint{}, []proxy.Endpoint{}
	for _, family := range []core.IPFamily{core.IPv4Protocol, core.IPv6Protocol} {
		judged = append(judged, inOrder(ordered, family, asking.Node, true, nil)[name]...)
		anonymous = append(anonymous, inOrder(ordered, family, asking.Node, true, named)[name]...)
	}
	for _, each := range anonymous {
		uids[each.String()] = sorted(each.ZoneHints())
	}
	once := func(port proxy.ServicePort, node string) []proxy.Endpoint {
		preferred := map[string]bool{}
		for _, each := range internal(anonymous, port, client{Node: node}) {
			if s.isPreferred(each) && uids[each.String()] != strconv.Quote("uid of ") {
				preferred[uids[each.String()]] = true
			}
		}
		return slices.DeleteFunc(slices.Clone(judged), func(each proxy.Endpoint) bool {
			return !s.isPreferred(each) && preferred[uids[each.String()]]
		})
	}
	found := categorize(once(port, asking.Node), port, asking)
	found.Anywhere = categorize(once(anywhere{port}, ""), port, asking).Anywhere
	return found
}

func (s *state) isPreferred(endpoint proxy.Endpoint) bool {
	return strings.Contains(endpoint.IP(), ":") == (s.Family == core.IPv6Protocol)
}

func internal(endpoints []proxy.Endpoint, port proxy.ServicePort, asking client) []proxy.Endpoint {
	cluster, local, _, _ := proxy.CategorizeEndpoints(endpoints, port, asking.Node, asking.labels())
	if port.InternalPolicyLocal() {
		return local
	}
	return cluster
}

func categorize(endpoints []proxy.Endpoint, port proxy.ServicePort, asking client) lists {
	cluster, local, all, _ := proxy.CategorizeEndpoints(endpoints, port, asking.Node, asking.labels())
	return lists{
		Cluster:  targets(cluster),
		Local:    targets(local),
		All:      targets(all),
		Internal: targets(internal(endpoints, port, asking)),
		Anywhere: targets(internal(endpoints, anywhere{port}, client{})),
	}
}

func (c client) labels() map[string]string {
	if c.Zone == "" {
		return nil
	}
	return map[string]string{core.LabelTopologyZone: c.Zone}
}

func targets(endpoints []proxy.Endpoint) []string {
	found := []string{}
	for _, each := range endpoints {
		target := each.String()
		if !each.IsReady() {
			target += " terminating"
		}
		found = append(found, target)
	}
	sort.Strings(found)
	return found
}

func put(found map[string]map[string]lists, port, family string, used lists) {
	if found[port] == nil {
		found[port] = map[string]lists{}
	}
	found[port][family] = used
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "kubeproxy:", err)
	os.Exit(1)
}
