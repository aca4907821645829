// Times Gazette's allocator on one instance: what it does after an event, from the keys that it
// mirrors to the assignment that it wants, without etcd and without the writes.
//
// Numbers are little-endian. Standard input, all int32: the runs, n Items, m Members, w slots;
// replicas (n), limits (m, 0 for those that drain), zones (m), live (m), held (n x w, -1 for none).
// Standard output: the seconds of each run as float64, then pairs (Item, Member) as int32.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"time"
	_ "unsafe" // for go:linkname

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.gazette.dev/core/allocator"
	"go.gazette.dev/core/keyspace"
)

// The allocator solves behind Allocate, which needs etcd; the function itself is not exported.
//
//go:linkname solve go.gazette.dev/core/allocator.solveDesiredAssignments
func solve(state *allocator.State, desired []allocator.Assignment) []allocator.Assignment

type limit int

func (l limit) ItemLimit() int { return int(l) }

type replicas int

func (r replicas) DesiredReplication() int { return int(r) }

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	var reader = bufio.NewReaderSize(in, 1<<20)
	var head, err = numbers(reader, 4)
	if err != nil {
		return fmt.Errorf("reading the sizes: %w", err)
	}
	var runs, n, m, w = int(head[0]), int(head[1]), int(head[2]), int(head[3])
	var columns [5][]int32
	for i, size := range []int{n, m, m, m, n * w} {
		if columns[i], err = numbers(reader, size); err != nil {
			return fmt.Errorf("reading column %d: %w", i, err)
		}
	}

	var space = keyspace.NewKeySpace("/berth", nil)
	var state = allocator.NewObservedState(space, "/berth/members/none", nil)
	space.KeyValues = keys(space, columns, n, m, w)

	var writer = bufio.NewWriterSize(out, 1<<20)
	var desired []allocator.Assignment
	for i := 0; i < runs; i++ {
		var begun = time.Now()
		for _, observe := range space.Observers {
			observe()
		}
		desired = solve(state, desired[:0])
		if err = binary.Write(writer, binary.LittleEndian, time.Since(begun).Seconds()); err != nil {
			return err
		}
	}
	for _, a := range desired {
		var item, _ = strconv.Atoi(a.ItemID[1:])
		var member, _ = strconv.Atoi(a.MemberSuffix[1:])
		if err = binary.Write(writer, binary.LittleEndian, [2]int32{int32(item), int32(member)}); err != nil {
			return err
		}
	}
	return writer.Flush()
}

func numbers(in io.Reader, count int) ([]int32, error) {
	var out = make([]int32, count)
	return out, binary.Read(in, binary.LittleEndian, out)
}

// keys returns the keys that etcd would hold, in their order.
func keys(space *keyspace.KeySpace, columns [5][]int32, n, m, w int) keyspace.KeyValues {
	var asks, limits, zones, live, held = columns[0], columns[1], columns[2], columns[3], columns[4]
	var out = make(keyspace.KeyValues, 0, n+m+n*w)
	var add = func(key string, decoded any) {
		out = append(out, keyspace.KeyValue{Raw: mvccpb.KeyValue{Key: []byte(key)}, Decoded: decoded})
	}
	var members = make([]allocator.Member, m)
	for i := range members {
		members[i] = allocator.Member{
			Zone:        fmt.Sprintf("z%04d", zones[i]),
			Suffix:      fmt.Sprintf("m%05d", i),
			MemberValue: limit(limits[i]),
		}
		if live[i] != 0 {
			add(allocator.MemberKey(space, members[i].Zone, members[i].Suffix), members[i])
		}
	}
	for i, asked := range asks {
		if asked == 0 {
			continue
		}
		var id = fmt.Sprintf("i%07d", i)
		add(allocator.ItemKey(space, id), allocator.Item{ID: id, ItemValue: replicas(asked)})
		for slot, row := range held[i*w : (i+1)*w] {
			if row < 0 {
				continue
			}
			var a = allocator.Assignment{
				ItemID: id, MemberZone: members[row].Zone, MemberSuffix: members[row].Suffix, Slot: slot,
			}
			add(allocator.AssignmentKey(space, a), a)
		}
	}
	sort.Slice(out, func(i, j int) bool { return string(out[i].Raw.Key) < string(out[j].Raw.Key) })
	return out
}
