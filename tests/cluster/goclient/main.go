// Command goclient asks a balancer through code generated from the article's proto, unchanged. It prints one JSON line
// for the answer of GetServers and one for each of the first messages of WatchServers.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "lookaside.dev/goclient/proto"
)

type server struct {
	Address  string            `json:"address"`
	Weight   int32             `json:"weight"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

// line is what is printed for an answer; the servers' order is that of the answer.
type line struct {
	Method  string   `json:"method"`
	Servers []server `json:"servers,omitzero"`
	Code    string   `json:"code,omitempty"`
	Message string   `json:"message,omitempty"`
}

var (
	address = flag.String("address", "localhost:50052", "HOST:PORT of the balancer")
	service = flag.String("service", "", "name of the service to ask for")
	watch   = flag.Int("watch", 0, "number of messages of WatchServers to print after the answer of GetServers")
	timeout = flag.Duration("timeout", 30*time.Second, "time allowed for everything")
)

func main() {
	flag.Parse()
	if *service == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: goclient -address HOST:PORT -service NAME [-watch N] [-timeout DURATION]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "goclient:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	conn, err := grpc.NewClient(*address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := pb.NewLoadBalancerClient(conn)

	// A watch can go where GetServers can't: it waits for a service that isn't there yet.
	refused := getServers(ctx, client)
	if *watch == 0 {
		return refused
	}
	return watchServers(ctx, client)
}

func getServers(ctx context.Context, client pb.LoadBalancerClient) error {
	answer, err := client.GetServers(ctx, &pb.GetServersRequest{ServiceName: *service})
	if err != nil {
		return fail("GetServers", err)
	}
	return show("GetServers", answer.GetServers())
}

func watchServers(ctx context.Context, client pb.LoadBalancerClient) error {
	stream, err := client.WatchServers(ctx, &pb.WatchServersRequest{ServiceName: *service})
	if err != nil {
		return fail("WatchServers", err)
	}
	for range *watch {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return errors.New("WatchServers: the balancer ended the stream")
		}
		if err != nil {
			return fail("WatchServers", err)
		}
		if err := show("WatchServers", message.GetServers()); err != nil {
			return err
		}
	}
	return nil
}

// show prints the servers of one answer as one line of JSON.
func show(method string, servers []*pb.Server) error {
	out := line{Method: method, Servers: []server{}}
	for _, s := range servers {
		out.Servers = append(out.Servers, server{s.GetAddress(), s.GetWeight(), s.GetMetadata()})
	}
	return write(out)
}

// fail prints the status of a refused call as one line of JSON, and gives the error back.
func fail(method string, err error) error {
	refusal := status.Convert(err)
	if writeErr := write(line{Method: method, Code: refusal.Code().String(), Message: refusal.Message()}); writeErr != nil {
		return writeErr
	}
	return fmt.Errorf("%s: %w", method, err)
}

func write(out line) error { return json.NewEncoder(os.Stdout).Encode(out) }
