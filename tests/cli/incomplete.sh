fixture glm47flash-compressed-tensors-asym-g32-layer1 layer1
glmq-inspect --check layer1 >all
rc=$?
tail -n 10 all
t glmq-inspect --tensors='attention.*' layer1
exit $rc
