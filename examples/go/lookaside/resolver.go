// Package lookaside has gRPC find backends with a Lookaside balancer and pick one per RPC.
//
// Import it, and dial "lookaside://BALANCER_HOST:PORT/SERVICE" with [ServiceConfig]. It speaks the balancer's first
// proto, lookaside.proto beside this package: whole lists, each with the servers' weights.
package lookaside

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"

	pb "lookaside.dev/greeter/lookasidepb"
)

// Scheme is the scheme of targets.
const Scheme = "lookaside"

const (
	firstWait = 100 * time.Millisecond
	longWait  = 3 * time.Second
)

func init() { resolver.Register(builder{}) }

type builder struct{}

func (builder) Scheme() string { return Scheme }

// Build starts the watch of one channel.
func (builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	balancer, service := target.URL.Host, target.Endpoint()
	if balancer == "" || service == "" {
		return nil, fmt.Errorf("%s is not lookaside://BALANCER_HOST:PORT/SERVICE", &target)
	}
	conn, err := grpc.NewClient(
		balancer,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// A watch is silent while nothing changes: only pings tell a dead one.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstWait, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{cc: cc, conn: conn, service: service, weights: &weights{}, cancel: cancel}
	w.done.Go(func() { w.run(ctx) })
	return w, nil
}

// watcher keeps the list of one channel current. When the balancer is lost, the last list holds.
type watcher struct {
	cc      resolver.ClientConn
	conn    *grpc.ClientConn
	service string
	weights *weights
	listed  bool
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

// ResolveNow does nothing: changes come by themselves.
func (w *watcher) ResolveNow(resolver.ResolveNowOptions) {}

// Close ends the watch and waits for its end.
func (w *watcher) Close() {
	w.cancel()
	w.done.Wait()
	w.conn.Close()
}

func (w *watcher) run(ctx context.Context) {
	wait := firstWait
	for ctx.Err() == nil {
		heard, err := w.watch(ctx)
		if !w.listed {
			// Not wrapped: a status would fail RPCs that wait for ready too.
			w.cc.ReportError(fmt.Errorf("balancer %s: %v", w.conn.Target(), err))
		}
		if heard {
			wait = firstWait
		}
		select {
		case <-ctx.Done():
		case <-time.After(rand.N(wait)):
		}
		wait = min(2*wait, longWait)
	}
}

// watch takes in lists until the stream ends, and says whether there was one.
func (w *watcher) watch(ctx context.Context) (heard bool, err error) {
	stream, err := pb.NewLoadBalancerClient(w.conn).WatchServers(ctx, &pb.WatchServersRequest{ServiceName: w.service})
	if err != nil {
		return false, err
	}
	for {
		list, err := stream.Recv()
		if err != nil {
			return heard, err
		}
		heard = true
		w.take(list.GetServers())
	}
}

func (w *watcher) take(servers []*pb.Server) {
	w.listed = true
	byAddress := make(map[string]int, len(servers))
	var addresses []resolver.Address
	for _, server := range servers {
		if server.GetWeight() <= 0 {
			continue // 0 is: no new requests.
		}
		byAddress[server.GetAddress()] = int(server.GetWeight())
		addresses = append(addresses, w.weights.attach(resolver.Address{Addr: server.GetAddress()}))
	}
	w.weights.set(byAddress)
	// An error says that the list is empty, which the channel tells its RPCs itself.
	_ = w.cc.UpdateState(resolver.State{Addresses: addresses})
}
