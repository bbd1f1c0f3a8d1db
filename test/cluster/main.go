package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/component-base/logs/json/register"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	switch os.Args[1] {
	case "etcd":
		etcdmain.Main(os.Args[1:])
	case "a":
		apiserver.NewAPIServerCommand().Execute()
	case "b":
		kcm.NewControllerManagerCommand().Execute()
	}
}
