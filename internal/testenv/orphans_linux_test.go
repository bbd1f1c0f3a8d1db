package testenv

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// holder tells the test below that it runs in the process that will be killed.
const holder = "KEYFERRY_TESTENV_HOLDER"

func TestServersDieWithTheProcess(t *testing.T) {
	if os.Getenv(holder) != "" {
		hold(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServersDieWithTheProcess$")
	cmd.Env = append(os.Environ(), holder+"=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	err = json.NewDecoder(stdout).Decode(&pids)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil {
		t.Fatalf("the process did not say which servers it started: %v", err)
	}
	deadline := time.After(time.Minute)
	for _, pid := range pids {
		for alive(pid) {
			select {
			case <-deadline:
				t.Fatalf("process %d outlives the one that started it", pid)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// hold starts servers, prints their process IDs, and waits to be killed.
func hold(t *testing.T) {
	t.Helper()
	cluster, bao := Cluster(t), OpenBao(t)
	p := cluster.status.Pids
	pids := []int{cluster.process.cmd.Process.Pid, p.Etcd, p.Apiserver, p.ControllerManager, bao.process.cmd.Process.Pid}
	if err := json.NewEncoder(os.Stdout).Encode(pids); err != nil {
		t.Fatal(err)
	}
	select {}
}

// alive reports whether the process runs. One that nobody has waited for yet does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
