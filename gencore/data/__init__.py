"""INTERIM"""
from __future__ import annotations
from pathlib import Path
import numpy as np, torch
class Source: pass
class _Arr:
    def __init__(self,x,label=None,name="a"):
        self.x=x;self.label=label;self.name=name;self.shape=tuple(x.shape[1:]);self.num_classes=int(label.max())+1 if label is not None else None
    def __len__(self): return len(self.x)
    def fetch(self,i):
        o={"x":self.x[i],"index":i}
        if self.label is not None:o["label"]=self.label[i]
        return o
def arrays(x): return _Arr(x)
def digits(split="train",image_size=None):
    d=np.load(Path(__file__).parent/"digits.npz")
    k=list(d.keys()); 
    im=[d[q] for q in k if d[q].ndim==3][0]; la=[d[q] for q in k if d[q].ndim==1][0]
    s=slice(0,1400) if split=="train" else slice(1400,None) if split=="test" else slice(None)
    x=torch.from_numpy(im.astype("float32"))[:,None][s]/8-1
    if image_size and image_size!=8: x=torch.nn.functional.interpolate(x,size=image_size,mode="bicubic",antialias=True).clamp(-1,1)
    return _Arr(x,torch.from_numpy(la.astype("int64"))[s],"digits")
def open_source(spec,image_size=None,split="train",skip_corrupt=False,channels=None):
    if spec.startswith("mnist:"):
        import gzip
        d=Path(spec[6:]); 
        x=np.frombuffer(gzip.open(d/"train-images-idx3-ubyte.gz").read(),np.uint8,offset=16).reshape(-1,28,28)
        y=np.frombuffer(gzip.open(d/"train-labels-idx1-ubyte.gz").read(),np.uint8,offset=8)
        x=torch.from_numpy(x.astype("float32"))[:,None]/127.5-1
        if image_size: x=torch.nn.functional.interpolate(x,size=image_size,mode="bilinear",antialias=True).clamp(-1,1)
        return _Arr(x,torch.from_numpy(y.astype("int64")),"mnist")
    return digits(split,image_size)
def check_batch(b,shape): pass
class Batches:
    def __init__(self,source,batch_size,*,seed,rank=0,world_size=1):
        self.source=source;self.b=batch_size;self.seed=seed;self.rank=rank;self.w=world_size
    def __getitem__(self,k):
        g=self.b*self.w;n=len(self.source)//g;e,j=divmod(k,n)
        p=np.random.Generator(np.random.Philox(key=np.array([self.seed,e],dtype=np.uint64))).permutation(len(self.source))
        return self.source.fetch(torch.from_numpy(p[j*g+self.rank*self.b:j*g+(self.rank+1)*self.b].copy()))
