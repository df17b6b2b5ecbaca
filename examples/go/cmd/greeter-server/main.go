// Command greeter-server is a greeter that says which backend it is. At SIGTERM it says that it is not serving, goes on for as
// long as clients may take to learn of it, and then finishes the requests that it has.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"lookaside.dev/greeter/greeterpb"
)

var (
	listen = flag.String("listen", ":50051", "HOST:PORT to listen on; port 0 has the system choose")
	linger = flag.Duration("linger", 5*time.Second, "time to go on after SIGTERM")
)

type greeter struct {
	greeterpb.UnimplementedGreeterServer
	backend string
}

func (g greeter) SayHello(_ context.Context, request *greeterpb.HelloRequest) (*greeterpb.HelloReply, error) {
	return &greeterpb.HelloReply{Message: "Hello, " + request.GetName() + "!", Backend: g.backend}, nil
}

func main() {
	flag.Parse()
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return err
	}
	backend := net.JoinHostPort(cmp.Or(os.Getenv("POD_IP"), host), port)
	server := grpc.NewServer(
		// By default a client that pings more often than every five minutes is sent away.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	checks := health.NewServer()
	grpc_health_v1.RegisterHealthServer(server, checks)
	greeterpb.RegisterGreeterServer(server, greeter{backend: backend})
	checks.SetServingStatus("greeter.Greeter", grpc_health_v1.HealthCheckResponse_SERVING)

	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	go func() {
		<-stop.Done()
		checks.Shutdown()
		time.Sleep(*linger)
		server.GracefulStop()
	}()
	fmt.Println(backend)
	return server.Serve(listener)
}
