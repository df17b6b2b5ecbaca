// Command greeter-client greets the backends that a Lookaside balancer lists, and prints who has answered how often.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"lookaside.dev/greeter/greeterpb"
	"lookaside.dev/greeter/lookaside"
)

var (
	target   = flag.String("target", "lookaside://localhost:50052/greeter.grpc-services", "the channel's target")
	requests = flag.Int("requests", 100, "how many requests are made")
	pause    = flag.Duration("pause", 0, "time between two requests")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	conn, err := grpc.NewClient(
		*target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(lookaside.ServiceConfig),
	)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := greeterpb.NewGreeterClient(conn)
	answered := map[string]int{}
	for range *requests {
		backend, err := greet(client)
		if err != nil {
			return err
		}
		answered[backend]++
		time.Sleep(*pause)
	}
	for _, backend := range slices.Sorted(maps.Keys(answered)) {
		fmt.Printf("%-24s %6d\n", backend, answered[backend])
	}
	return nil
}

func greet(client greeterpb.GreeterClient) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	reply, err := client.SayHello(ctx, &greeterpb.HelloRequest{Name: "World"}, grpc.WaitForReady(true))
	return reply.GetBackend(), err
}
