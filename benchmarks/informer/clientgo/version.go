package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version prints which Go and which client-go this is.
func version(context.Context, []string) error {
	build, _ := debug.ReadBuildInfo()
	for _, module := range build.Deps {
		if module.Path == "k8s.io/client-go" {
			fmt.Printf("%s, client-go %s\n", runtime.Version(), module.Version)
		}
	}
	return nil
}
