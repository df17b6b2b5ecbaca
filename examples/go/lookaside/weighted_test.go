package lookaside

import (
	"testing"

	"google.golang.org/grpc/balancer"
)

func TestEachBackendHasItsWeightOfThePicks(t *testing.T) {
	p := &picker{total: 6}
	for index, weight := range []int{3, 2, 1} {
		p.backends = append(p.backends, &backend{address: string(rune('a' + index)), weight: weight, conn: &named{}})
	}
	picked := map[balancer.SubConn]int{}
	for range 60 {
		result, err := p.Pick(balancer.PickInfo{})
		if err != nil {
			t.Fatal(err)
		}
		picked[result.SubConn]++
	}
	for _, each := range p.backends {
		if picked[each.conn] != 10*each.weight {
			t.Errorf("%s was picked %d times, not %d", each.address, picked[each.conn], 10*each.weight)
		}
	}
}

type named struct {
	balancer.SubConn
	_ int
}
