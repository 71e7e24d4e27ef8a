import numpy as np
from PIL import Image
from einops import rearrange
def grid(x,columns=None,padding=2):
    n=len(x);c=columns or int(np.ceil(n**.5));
    import torch
    x=torch.nn.functional.pad(x,(padding,)*4,value=1.0)
    r=-(-n//c)
    x=torch.cat([x,torch.ones(r*c-n,*x.shape[1:])])
    a=rearrange(((x+1)*127.5).round().byte(),"(r c) k h w -> (r h) (c w) k",c=c).numpy()
    return Image.fromarray(a[...,0] if a.shape[2]==1 else a)
def save_grid(x,path,columns=None,padding=2): grid(x,columns,padding).save(path)
