# Words of the contract that this version does not have: status 4, never a silent accept.
sample
for o in --stats --html=x --check=vllm; do t glmq-inspect $o sample; done
for o in --target-bpw=4 --donor=x --fix=index --fix-metadata=a=b --drop-experts=x \
    --part=1/2 --finalize --device=cpu --gpu-memory=1G --verify=forward; do
    t glmq-convert $o sample out --to bf16
done
for o in --forward --device=cpu --gpu-memory=1G --tokens=x --text=x --random=4 --layers=0-1 --mtp \
    --max-kl=1 --min-top1=1 --logits=x; do
    t glmq-verify $o sample sample
done
t glmq-inspect https://example.org/model
t glmq-inspect hf://org/model
t glmq-convert sample out.tar --to bf16
t glmq-convert sample out.tar.zst --to bf16
tar cf sample.tar sample
t glmq-inspect sample.tar
gzip -n sample.tar
t glmq-inspect sample.tar.gz
ls
for f in fp8 fp8:block=128 tq3 vq aqlm; do t glmq-convert sample never --to $f; done
